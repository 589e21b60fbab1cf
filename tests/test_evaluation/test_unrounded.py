"""Metrics other than mmdet's ``CocoMetric`` with all decimals."""

import builtins

import numpy as np
import pytest
import torch
from mmdet.evaluation import VOCMetric
from mmdet.evaluation.metrics import voc_metric
from mmengine.evaluator import BaseMetric
from mmengine.structures import InstanceData

from detnas_mm.evaluation import unrounded
from detnas_mm.evaluation.voc_metric import ExactVOCMetric

NUM_BOXES = 7


def row_of_boxes():
    """Seven boxes in a row, ``(7, 4)``."""
    left = np.arange(NUM_BOXES) * 40.0
    top = np.full(NUM_BOXES, 10.0)
    return np.stack((left, top, left + 30, top + 30), axis=1)


def evaluate_voc(kind, **settings):
    """Evaluates predictions that find three of seven boxes after a miss."""
    found = row_of_boxes()[[0, 2, 5]] + [
        [0, 0, 1, 2],
        [0, 0, 3, 0],
        [1, 1, 0, 0],
    ]
    wrong = [[0.0, 100.0, 30.0, 130.0]]
    metric = kind(**settings)
    metric.dataset_meta = dict(classes=('box',))
    sample = dict(
        gt_instances=InstanceData(
            bboxes=torch.tensor(row_of_boxes()).float(),
            labels=torch.zeros(NUM_BOXES).long(),
        ),
        ignored_instances=InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long()
        ),
        pred_instances=dict(
            bboxes=torch.tensor(np.concatenate((wrong, found))).float(),
            scores=torch.tensor([0.9, 0.8, 0.7, 0.6]),
            labels=torch.zeros(4, dtype=torch.long),
        ),
    )
    metric.process({}, [sample])
    return metric.evaluate(size=1)


def test_voc_metric_keeps_all_decimals():
    settings = dict(iou_thrs=[0.5, 0.93])
    exact = evaluate_voc(ExactVOCMetric, **settings)
    rounded = evaluate_voc(VOCMetric, **settings)
    # By hand: a precision of 3/4 at the first five of eleven recall levels,
    # up to 3/7.
    assert exact['pascal_voc/AP50'] == pytest.approx(0.75 * 5 / 11)
    assert rounded['pascal_voc/AP50'] == 0.341
    assert list(exact) == list(rounded)
    # mmdet does not round the mean.
    assert exact['pascal_voc/mAP'] == rounded['pascal_voc/mAP']
    assert exact['pascal_voc/AP93'] < exact['pascal_voc/AP50']


def test_recalls_of_voc_metric_are_mmdet_numbers():
    settings = dict(metric='recall', iou_thrs=[0.5, 0.9])
    found = evaluate_voc(ExactVOCMetric, **settings)
    assert found == evaluate_voc(VOCMetric, **settings)
    assert 'pascal_voc/AR@100' in found


class OwnMetric(BaseMetric):
    """A user's metric, in a module of its own."""

    default_prefix = 'own'

    def process(self, data_batch, data_samples):
        self.results.append(0.123456)

    def compute_metrics(self, results):
        return dict(score=round(results[0], 2), count=round(2.7))


class DerivedMetric(OwnMetric):
    def compute_metrics(self, results):
        return super().compute_metrics(results)


@pytest.mark.parametrize('kind', [OwnMetric, DerivedMetric])
def test_own_metrics_keep_all_decimals(kind):
    metric = kind()
    metric.process({}, [])
    with unrounded([metric]):
        with unrounded([metric]):
            pass
        wanted = {'own/score': 0.123456, 'own/count': 3}
        assert metric.evaluate(size=1) == wanted
    assert 'round' not in globals()


def test_own_round_of_a_module_stays(monkeypatch):
    monkeypatch.setitem(globals(), 'round', lambda value, ndigits=0: ndigits)
    metric = OwnMetric()
    metric.process({}, [])
    with unrounded([metric]):
        assert metric.evaluate(size=1)['own/score'] == 2


def fail():
    raise KeyError(voc_metric.round(0.12345, 3))


def test_modules_are_restored_after_a_failure():
    with pytest.raises(KeyError, match='0.12345'), unrounded([VOCMetric()]):
        fail()
    assert 'round' not in vars(voc_metric)
    assert builtins.round(0.12345, 3) == 0.123


def test_exact_metrics_need_no_other_round():
    with unrounded([ExactVOCMetric()]):
        assert 'round' not in vars(voc_metric)
