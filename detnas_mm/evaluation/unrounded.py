"""Metrics that return all decimals.

mmdet's metrics round to 3 decimals before they return, so that different
candidates tie. Other metrics than the two that are replaced here return what
they return elsewhere.
"""

from typing import Self

import numpy as np
from mmengine.evaluator import BaseMetric, Evaluator

from detnas_mm.utils.errors import InputError


class ExactMetric:
    """Base of classes that do the work of an mmdet metric without rounding."""

    @classmethod
    def from_mmdet(cls, metric: BaseMetric) -> Self:
        """Returns a metric with the settings and data of mmdet's metric."""
        thresholds = np.ravel(metric.iou_thrs)
        is_number = thresholds.dtype.kind in 'if' and len(thresholds)
        if not is_number or thresholds.min() < 0 or thresholds.max() > 1:
            raise InputError(
                '`iou_thrs` must be numbers from 0 to 1, got '
                f'{metric.iou_thrs!r}'
            )
        exact = cls.__new__(cls)
        vars(exact).update(vars(metric))
        return exact


def use_exact_metrics(evaluator: Evaluator) -> None:
    """Replaces mmdet's metrics by exact ones where detnas_mm has one.

    Only the classes ``CocoMetric`` and ``VOCMetric`` are replaced, not their
    subclasses.

    Args:
        evaluator: Its metrics are replaced in place.

    Raises:
        InputError: If a COCO annotation file cannot be used.
    """
    evaluator.metrics = [_exact(metric) for metric in evaluator.metrics]


def _exact(metric: BaseMetric) -> BaseMetric:
    if not type(metric).__module__.startswith('mmdet.'):
        return metric
    # Imported here, since a search of classifiers does not need mmdet.
    from mmdet.evaluation import CocoMetric, VOCMetric

    from detnas_mm.evaluation.coco_metric import ExactCocoMetric
    from detnas_mm.evaluation.voc_metric import ExactVOCMetric

    exact_classes = {CocoMetric: ExactCocoMetric, VOCMetric: ExactVOCMetric}
    exact_class = exact_classes.get(type(metric))
    return metric if exact_class is None else exact_class.from_mmdet(metric)
