"""mmdet's metrics: unrounded, in memory and in C++, with equal numbers."""

import builtins
import json
import sys

import numpy as np
import pytest
import torch
from detnas_mm.evaluation.metric_patches import exact_metrics, patched
from mmdet.evaluation import CocoMetric, VOCMetric
from mmdet.evaluation.metrics import coco_metric, voc_metric
from mmengine.evaluator import BaseMetric
from mmengine.structures import InstanceData
from pycocotools.cocoeval import COCOeval

NUM_BOXES = 7
NUM_IMAGES, NUM_CLASSES = 30, 4
CLASSES = tuple(f'class{number}' for number in range(NUM_CLASSES))
FASTER = 'faster_coco_eval.core.faster_eval_api'


def row_of_boxes():
    """Seven boxes in a row, ``(7, 4)``."""
    left = np.arange(NUM_BOXES) * 40.0
    top = np.full(NUM_BOXES, 10.0)
    return np.stack((left, top, left + 30, top + 30), axis=1)


def few_predictions():
    """Three of seven boxes are found, the first prediction is wrong."""
    found = row_of_boxes()[[0, 2, 5]] + [
        [0, 0, 1, 2],
        [0, 0, 3, 0],
        [1, 1, 0, 0],
    ]
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
        for index, (x, y, right, bottom) in enumerate(row_of_boxes().tolist())
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
            img_id=1, ori_shape=(160, 320), pred_instances=few_predictions()
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
                bboxes=torch.tensor(row_of_boxes()).float(),
                labels=torch.zeros(NUM_BOXES).long(),
            ),
            ignored_instances=none,
            pred_instances=few_predictions(),
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
    with exact_metrics([metric]):
        exact = metric.evaluate(size=1)
    printed = coco().evaluate(size=1)
    keys = {'coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/bbox_mAP_75'}
    assert keys <= decimals_beyond_the_third(exact)
    assert not decimals_beyond_the_third(printed)
    for key in keys:
        assert round(exact[key], 3) == printed[key]
    # By hand for IoU 0.5, where all three are hits: precisions are 1/2,
    # 2/3 and 3/4 after a miss, so 3/4 up to a recall of 3/7, which is at
    # the first 43 of 101 recall levels.
    assert exact['coco/bbox_mAP_50'] == pytest.approx(0.75 * 43 / 101)
    assert printed['coco/bbox_mAP_50'] == 0.319


def test_voc_metric_keeps_all_decimals(voc):
    metric = voc()
    with exact_metrics([metric]):
        exact = metric.evaluate(size=1)
    printed = voc().evaluate(size=1)
    # By hand: a precision of 3/4 at the first five of eleven recall levels,
    # up to 3/7.
    assert exact['pascal_voc/AP50'] == pytest.approx(0.75 * 5 / 11)
    assert printed['pascal_voc/AP50'] == 0.341
    assert 'pascal_voc/AP60' in decimals_beyond_the_third(exact)


@pytest.mark.parametrize('fails', [False, True])
def test_modules_are_restored(coco, voc, fails):
    modules = (coco_metric, voc_metric)
    before = [dict(vars(module)) for module in modules]
    try:
        with exact_metrics([coco(), voc()]):
            assert coco_metric.round(0.12345, 3) == 0.12345
            assert voc_metric.round(0.12345, 3) == 0.12345
            # Rounding to an integer still takes place.
            assert type(coco_metric.round(2.7)) is int
            with exact_metrics([coco()]):
                pass
            assert coco_metric.round(0.12345, 3) == 0.12345
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    assert [dict(vars(module)) for module in modules] == before
    assert builtins.round(0.12345, 3) == 0.123


def test_patched_sets_and_removes_names():
    with patched(coco_metric, dump=1, new=2):
        assert (coco_metric.dump, coco_metric.new) == (1, 2)
    assert callable(coco_metric.dump)
    assert not hasattr(coco_metric, 'new')


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
    with exact_metrics([metric]):
        assert metric.evaluate(size=1) == {'own/score': 0.123456}
    assert 'round' not in globals()


def random_boxes(rng, count):
    """Corners of boxes of all of COCO's sizes, ``(N, 4)``."""
    corner = rng.uniform(0, 200, (count, 2))
    extent = rng.uniform(8, 60, (count, 2)) * rng.choice([0.5, 1, 4], count)[
        :, None
    ]  # fmt: skip
    return np.concatenate((corner, corner + extent), axis=1)


def truth(rng):
    """Images with up to six boxes, some of them crowds."""
    annotations = []
    for image in range(NUM_IMAGES):
        for box in random_boxes(rng, rng.integers(0, 7)):
            width, height = box[2:] - box[:2]
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image,
                    category_id=int(rng.integers(NUM_CLASSES)) + 1,
                    bbox=[*box[:2], width, height],
                    area=width * height,
                    iscrowd=int(rng.random() < 0.1),
                )
            )
    return dict(
        images=[dict(id=i, width=500, height=500) for i in range(NUM_IMAGES)],
        categories=[
            dict(id=number + 1, name=name)
            for number, name in enumerate(CLASSES)
        ],
        annotations=annotations,
    )


def predictions(rng, image, annotations):
    """The image's boxes, moved a little, and wrong ones."""
    own = [a for a in annotations if a['image_id'] == image]
    x, y, width, height = np.array([a['bbox'] for a in own]).reshape(
        -1, 4
    ).T  # fmt: skip
    boxes = np.stack((x, y, x + width, y + height), axis=1)
    boxes = boxes + rng.normal(0, 3, boxes.shape)
    labels = [a['category_id'] - 1 for a in own]
    # One image has more than the 100 that count.
    wrong = 140 if image == 3 else len(own) + 1
    labels += rng.integers(NUM_CLASSES, size=wrong).tolist()
    boxes = np.concatenate((boxes, random_boxes(rng, wrong)))
    # Some scores are equal.
    scores = rng.integers(1, 20, len(boxes)) / 20
    scores[len(own) :] += image == 3
    return dict(
        bboxes=torch.tensor(boxes).float(),
        scores=torch.tensor(scores).float(),
        labels=torch.tensor(labels),
    )


@pytest.fixture
def metric(tmp_path):
    """Makes a metric that has seen all images; each time the same."""
    file = tmp_path / 'annotations.json'

    def make(**settings):
        rng = np.random.default_rng(3)
        content = truth(rng)
        file.write_text(json.dumps(content))
        metric = CocoMetric(ann_file=str(file), **settings)
        metric.dataset_meta = dict(classes=CLASSES)
        for image in range(NUM_IMAGES):
            sample = dict(
                img_id=image,
                ori_shape=(500, 500),
                pred_instances=predictions(rng, image, content['annotations']),
            )
            metric.process({}, [sample])
        return metric

    return make


def evaluate(metric):
    """Evaluates as mmdet does, only without rounding."""
    with patched(coco_metric, round=lambda value, ndigits=None: value):
        return metric.evaluate(NUM_IMAGES)


def evaluate_faster(metric):
    with exact_metrics([metric]):
        return metric.evaluate(NUM_IMAGES)


SETTINGS = [
    dict(metric='bbox'),
    dict(metric='bbox', classwise=True),
    dict(metric=['bbox', 'proposal']),
    dict(iou_thrs=np.array([0.5, 0.75]), proposal_nums=(3, 10, 100)),
]


@pytest.mark.parametrize('settings', SETTINGS)
@pytest.mark.parametrize('installed', [True, False])
def test_numbers_are_those_of_pycocotools(
    metric, monkeypatch, settings, installed
):
    if installed:
        pytest.importorskip('faster_coco_eval')
    else:
        monkeypatch.setitem(sys.modules, FASTER, None)
    fast = evaluate_faster(metric(**settings))
    slow = evaluate(metric(**settings))
    assert fast.keys() == slow.keys()
    numbers = {k: v for k, v in slow.items() if not isinstance(v, str)}
    assert len(set(numbers.values())) > 1
    for key, value in numbers.items():
        assert fast[key] == pytest.approx(value, abs=1e-9, nan_ok=True)


def test_evaluation_is_in_cpp_and_in_memory(metric, monkeypatch):
    pytest.importorskip('faster_coco_eval')
    first, second = metric(), metric()
    monkeypatch.setattr(COCOeval, 'evaluate', None)
    monkeypatch.setattr(coco_metric, 'dump', None)
    assert evaluate_faster(first)
    with pytest.raises(TypeError):
        evaluate(second)


def test_result_files_are_written_if_wanted(metric, tmp_path):
    evaluate_faster(metric(outfile_prefix=str(tmp_path / 'results')))
    assert json.loads((tmp_path / 'results.bbox.json').read_text())


def test_ground_truth_of_the_data_set_works(metric):
    """Without ``ann_file`` ``CocoMetric`` writes and reads a file of it."""
    made = metric()
    results = [
        (dict(gt, anns=[]), prediction) for gt, prediction in made.results
    ]
    results[0][0]['anns'] = [
        dict(bbox=[0, 0, 50, 50], bbox_label=1, ignore_flag=0)
    ]
    scores = []
    for way in (evaluate, evaluate_faster):
        metric = CocoMetric(metric='bbox')
        metric.dataset_meta = dict(classes=CLASSES)
        metric.results = list(results)
        scores.append(way(metric))
    assert scores[0] == pytest.approx(scores[1], abs=1e-9)


def test_without_mmdet_nothing_is_patched(monkeypatch):
    monkeypatch.delitem(sys.modules, coco_metric.__name__)
    with exact_metrics([]):
        pass
