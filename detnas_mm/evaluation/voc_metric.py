"""mmdet's metric of Pascal VOC with all decimals."""

import copy

from mmdet.evaluation import VOCMetric

from detnas_mm.evaluation.unrounded import ExactMetric
from detnas_mm.registry import METRICS


@METRICS.register_module()
class ExactVOCMetric(ExactMetric, VOCMetric):
    """``VOCMetric`` with all decimals; settings and keys are mmdet's."""

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Computes the metrics.

        mmdet rounds the AP of a threshold, but not the mean over thresholds.
        So each threshold is computed alone: its AP is the mean of one value.
        """
        if self.metric != 'mAP':
            return super().compute_metrics(results)
        metrics = {'mAP': 0.0}
        values = []
        single = copy.copy(self)
        for threshold in self.iou_thrs:
            single.iou_thrs = [threshold]
            computed = VOCMetric.compute_metrics(single, results)
            values.append(computed.pop('mAP'))
            metrics.update(dict.fromkeys(computed, values[-1]))
        metrics['mAP'] = sum(values) / len(values)
        return metrics
