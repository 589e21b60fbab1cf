"""mmdet's ``VOCMetric`` with all decimals."""

import numpy as np
import pytest
import torch
from mmdet.evaluation import VOCMetric
from mmengine.structures import InstanceData

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
