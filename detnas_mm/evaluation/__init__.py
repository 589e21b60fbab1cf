"""What an evaluation gives: metrics, predictions, agreement of rankings."""

from .float32_predictions import float32_predictions
from .unrounded import unrounded, use_exact_metrics

__all__ = ['float32_predictions', 'unrounded', 'use_exact_metrics']
