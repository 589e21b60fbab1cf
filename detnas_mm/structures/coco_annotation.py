"""Fields of an annotation in COCO's format that a score depends on."""

import math
from collections.abc import Mapping
from typing import Any


def annotation_fault(annotation: Mapping) -> tuple[str, str] | None:
    """Return a field that cannot be used, and what was expected.

    ``area`` and ``iscrowd`` may be missing or null: their values are plain.
    """
    box, area = annotation.get('bbox'), annotation.get('area')
    if (
        not isinstance(box, list)
        or len(box) != 4
        or not all(map(is_finite_number, box))
    ):
        return 'bbox', 'four finite numbers'
    if area is not None and not is_finite_number(area):
        return 'area', 'a finite number'
    crowd = annotation.get('iscrowd')
    if isinstance(crowd, str) or crowd not in (None, 0, 1):
        return 'iscrowd', '0 or 1'
    return None


def is_finite_number(value: Any) -> bool:
    """Return True for a finite number as JSON has it, not for a boolean."""
    return type(value) in (int, float) and math.isfinite(value)
