"""What an evaluation gives: metrics, their precision, agreement of ranks."""

from .faster_coco import faster_coco
from .precision import (
    autocast_type,
    float32_predictions,
    require_precision,
)
from .unrounded import unrounded

__all__ = [
    'autocast_type',
    'faster_coco',
    'float32_predictions',
    'require_precision',
    'unrounded',
]
