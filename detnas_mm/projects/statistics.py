"""What image size and anchors the boxes of a data set need."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detnas_mm.projects.formats import LabeledImage

# Longer and shorter side of images on COCO.
_LARGEST = (1333, 800)
_OCTAVE = 2 ** (np.arange(3) / 3)


@dataclass(frozen=True)
class Anchors:
    """Anchors that fit the boxes of the training images."""

    base: float  # side of the smallest one, in strides of its level
    ratios: tuple[float, ...]  # of height to width
    levels: int  # the first with stride 8
    covered: float  # share of boxes with an IoU of at least 0.5 with the best


def usual_size(images: Sequence[LabeledImage]) -> tuple[int, int]:
    """Return the median of longer and shorter sides, at most as for COCO."""
    sides = np.array([sorted(i.size, reverse=True) for i in images])
    longer, shorter = np.median(sides, axis=0)
    factor = min(1, _LARGEST[0] / longer, _LARGEST[1] / shorter)
    return round(longer * factor), round(shorter * factor)


def box_shapes(
    images: Sequence[LabeledImage], size: tuple[int, int]
) -> np.ndarray:
    """Return width and height of all boxes on resized images, ``(N, 2)``."""
    shapes = []
    for image in images:
        longer, shorter = max(image.size), min(image.size)
        factor = min(size[0] / longer, size[1] / shorter)
        shapes += [(b.width * factor, b.height * factor) for b in image.boxes]
    return np.array(shapes)


def fit_anchors(shapes: np.ndarray) -> Anchors:
    """Choose the anchors of RetinaNet for boxes, see :func:`box_shapes`."""
    tall = np.quantile(np.log2(shapes[:, 1] / shapes[:, 0]), (0.1, 0.5, 0.9))
    # In steps of the root of 2, between which anchors overlap well.
    steps = sorted(set(np.round(2 * tall).tolist()))
    ratios = tuple(round(2 ** (step / 2), 2) for step in steps)
    found = [
        Anchors(base, ratios, levels, _covered(shapes, base, ratios, levels))
        for levels in (3, 4, 5)
        for base in (1.5, 2, 3, 4, 6)
    ]
    # More levels only where they cover one more box in a hundred.
    return max(found, key=lambda fit: (round(fit.covered, 2), -fit.levels))


def _covered(
    shapes: np.ndarray, base: float, ratios: Sequence[float], levels: int
) -> float:
    sides = (base * 8 * 2 ** np.arange(levels)[:, None] * _OCTAVE).reshape(
        -1, 1
    )
    roots = np.sqrt(ratios)
    anchors = np.stack((sides / roots, sides * roots), -1).reshape(-1, 2)
    common = np.minimum(shapes[:, None], anchors).prod(axis=2)
    areas = shapes.prod(axis=1)[:, None] + anchors.prod(axis=1)
    return float(np.mean((common / (areas - common)).max(axis=1) >= 0.5))
