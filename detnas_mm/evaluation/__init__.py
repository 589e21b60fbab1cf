"""What an evaluation gives: metrics, predictions, agreement of rankings."""

from .float32_predictions import float32_predictions
from .metric_patches import exact_metrics

__all__ = ['exact_metrics', 'float32_predictions']
