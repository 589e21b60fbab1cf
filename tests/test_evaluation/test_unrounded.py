"""mmdet's metrics with all decimals."""

import builtins
import json

import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric, VOCMetric
from mmdet.evaluation.metrics import coco_metric, voc_metric
from mmengine.evaluator import BaseMetric
from mmengine.structures import InstanceData

from detnas_mm.evaluation.unrounded import unrounded

NUM_BOXES = 7


def boxes():
    """Seven boxes in a row, ``(7, 4)``."""
    left = np.arange(NUM_BOXES) * 40.0
    top = np.full(NUM_BOXES, 10.0)
    return np.stack((left, top, left + 30, top + 30), axis=1)


def predictions():
    """Three of seven boxes are found, the first prediction is wrong."""
    found = boxes()[[0, 2, 5]] + [[0, 0, 1, 2], [0, 0, 3, 0], [1, 1, 0, 0]]
    wrong = [[0.0, 100.0, 30.0, 130.0]]
    return dict(
        bboxes=torch.tensor(np.concatenate((wrong, found))).float(),
        scores=torch.tensor([0.9, 0.8, 0.7, 0.6]),
        labels=torch.zeros(4, dtype=torch.long),
    )


@pytest.fixture
def coco(tmp_path):
    annotations = [
        dict(
            id=index + 1,
            image_id=1,
            category_id=1,
            bbox=[x, y, right - x, bottom - y],
            area=(right - x) * (bottom - y),
            iscrowd=0,
        )
        for index, (x, y, right, bottom) in enumerate(boxes().tolist())
    ]
    file = tmp_path / 'annotations.json'
    file.write_text(
        json.dumps(
            dict(
                images=[dict(id=1, width=320, height=160)],
                categories=[dict(id=1, name='box')],
                annotations=annotations,
            )
        )
    )

    def evaluate():
        metric = CocoMetric(ann_file=str(file), metric='bbox')
        metric.dataset_meta = dict(classes=('box',))
        sample = dict(
            img_id=1, ori_shape=(160, 320), pred_instances=predictions()
        )
        metric.process({}, [sample])
        return metric

    return evaluate


@pytest.fixture
def voc():
    def evaluate():
        metric = VOCMetric(iou_thrs=[0.5, 0.6])
        metric.dataset_meta = dict(classes=('box',))
        none = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long()
        )
        sample = dict(
            gt_instances=InstanceData(
                bboxes=torch.tensor(boxes()).float(),
                labels=torch.zeros(NUM_BOXES).long(),
            ),
            ignored_instances=none,
            pred_instances=predictions(),
        )
        metric.process({}, [sample])
        return metric

    return evaluate


def decimals_beyond_the_third(metrics):
    return {
        key
        for key, value in metrics.items()
        if not isinstance(value, str) and abs(value - round(value, 3)) > 1e-9
    }


def test_coco_metric_keeps_all_decimals(coco):
    metric = coco()
    with unrounded([metric]):
        exact = metric.evaluate(size=1)
    printed = coco().evaluate(size=1)
    keys = {'coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/bbox_mAP_75'}
    assert keys <= decimals_beyond_the_third(exact)
    assert not decimals_beyond_the_third(printed)
    for key in keys:
        assert round(exact[key], 3) == printed[key]
    # By hand for IoU 0.5, where all three are hits: precisions are 1/2,
    # 2/3 and 3/4 after a miss, so 3/4 up to a recall of 3/7. That are the
    # first 43 of 101 recall levels.
    assert exact['coco/bbox_mAP_50'] == pytest.approx(0.75 * 43 / 101)
    assert printed['coco/bbox_mAP_50'] == 0.319


def test_voc_metric_keeps_all_decimals(voc):
    metric = voc()
    with unrounded([metric]):
        exact = metric.evaluate(size=1)
    printed = voc().evaluate(size=1)
    # By hand: a precision of 3/4 at the first five of eleven recall levels,
    # those up to 3/7.
    assert exact['pascal_voc/AP50'] == pytest.approx(0.75 * 5 / 11)
    assert printed['pascal_voc/AP50'] == 0.341
    assert 'pascal_voc/AP60' in decimals_beyond_the_third(exact)


@pytest.mark.parametrize('fails', [False, True])
def test_rounding_is_restored(coco, voc, fails):
    modules = (coco_metric, voc_metric)
    before = [dict(vars(module)) for module in modules]
    try:
        with unrounded([coco(), voc()]):
            assert coco_metric.round(0.12345, 3) == 0.12345
            assert voc_metric.round(0.12345, 3) == 0.12345
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    assert [dict(vars(module)) for module in modules] == before
    assert builtins.round(0.12345, 3) == 0.123


def test_blocks_may_be_nested(coco):
    with unrounded([coco()]):
        with unrounded([coco()]):
            pass
        assert coco_metric.round(0.12345, 3) == 0.12345
    assert 'round' not in vars(coco_metric)


def test_rounding_to_integers_still_takes_place(coco):
    with unrounded([coco()]):
        assert coco_metric.round(2.7) == 3
        assert type(coco_metric.round(2.7)) is int


class OwnMetric(BaseMetric):
    """A user's metric, in a module of its own."""

    default_prefix = 'own'

    def process(self, data_batch, data_samples):
        self.results.append(0.123456)

    def compute_metrics(self, results):
        return dict(score=round(results[0], 2))


class DerivedMetric(OwnMetric):
    def compute_metrics(self, results):
        return super().compute_metrics(results)


@pytest.mark.parametrize('kind', [OwnMetric, DerivedMetric])
def test_own_metrics_keep_all_decimals(kind):
    metric = kind()
    metric.process({}, [])
    with unrounded([metric]):
        assert metric.evaluate(size=1) == {'own/score': 0.123456}
    assert 'round' not in globals()


def test_no_metric_is_fine():
    with unrounded([]):
        assert round(0.126, 2) == 0.13
