"""Metrics of a part of the images, in the middle of a validation."""

import copy
import sys
from collections.abc import Mapping

from mmengine.evaluator import BaseMetric, Evaluator

_COCO_METRIC = 'mmdet.evaluation.metrics.coco_metric'


def evaluate_so_far(
    evaluator: Evaluator, num_images: int
) -> Mapping[str, float]:
    """Evaluates the images that an evaluator was given up to now.

    They are scored as if they were the whole data set. The evaluator is left
    as it was, and may be given more.

    Args:
        evaluator: The evaluator.
        num_images: How many images it was given.

    Returns:
        Its metrics, as its ``evaluate`` gives them.
    """
    part = copy.copy(evaluator)
    part.metrics = [_copy_of(metric) for metric in evaluator.metrics]
    return part.evaluate(num_images)


def _copy_of(metric: BaseMetric) -> BaseMetric:
    part = copy.copy(metric)
    # Evaluation empties the list.
    part.results = list(metric.results)
    module = sys.modules.get(_COCO_METRIC)
    if module is not None and isinstance(metric, module.CocoMetric):
        # It counts the objects of all images of its annotation file.
        part.img_ids = [truth['img_id'] for truth, _ in part.results]
    return part
