"""What an evaluation gives: metrics, predictions, agreement of rankings."""

from .float32_predictions import float32_predictions
from .unrounded import use_exact_metrics

__all__ = ['float32_predictions', 'use_exact_metrics']
