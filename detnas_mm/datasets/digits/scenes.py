"""One image: handwritten digits drawn on a crop of a photograph.

Digits vary in size, rotation, shear, stroke width and color. The box of
a digit is the tight box of its visible strokes, in whole pixels. Every random
choice comes from the generator that is passed in.

Shapes: S is the side of the image, h and w are the sides of one drawn digit.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from detnas_mm.datasets.digits.sources import SplitSources
from detnas_mm.utils.errors import InputError

# Ink (0 to 1) from which a pixel is visible and counts for the box.
_VISIBLE = 0.3
# Range of each channel of a digit's color, and how much lighter than its
# background it is on average, of 255. With digits that may also be darker, a
# small supernet stays at chance for more than a thousand iterations.
_CHANNELS, _MIN_CONTRAST = (80, 255), 70
# Range of the factor on the brightness of a photograph, drawn by channel.
_BACKGROUND_GAINS = (0.1, 0.6)
# Maximum shared area of two boxes, as a share of the smaller box.
_MAX_OVERLAP = 0.1
_PLACE_ATTEMPTS = 50


@dataclass(frozen=True)
class PlacedDigit:
    """One digit of an image."""

    digit_id: int  # position in `load_digits`
    label: int
    box: tuple[int, int, int, int]  # x, y, width, height, as in COCO


def draw_scene(
    sources: SplitSources,
    candidates: npt.NDArray[np.int64],
    size: int,
    heights: tuple[int, int],
    rng: np.random.Generator,
    max_shift: int | None = None,
) -> tuple[npt.NDArray[np.uint8], list[PlacedDigit]]:
    """Draw digits on a background until all are placed or no room is left.

    Args:
        sources: Digits and photographs of the split.
        candidates: Rows of ``sources`` to place, in order.
        size: Side of the image in pixels.
        heights: Range of the height of a digit before its rotation, in
            pixels; drawn log-uniformly.
        rng: Source of every random choice.
        max_shift: Maximum distance of a digit from the middle of the image,
            in pixels to each side; anywhere by default.

    Returns:
        The (S, S, 3) uint8 RGB image and the digits on it, at least one.
        Strokes of different digits never touch.
    """
    image = _background(sources.photos, size, rng)
    taken = np.zeros((size, size), dtype=bool)
    placed: list[PlacedDigit] = []
    for row in candidates:
        for _ in range(_PLACE_ATTEMPTS):
            ink = _draw_digit(sources.digits[row], heights, rng)
            corner = _free_corner(ink, taken, placed, max_shift, rng)
            if corner is not None:
                break
        else:
            continue
        x, y = corner
        window = slice(y, y + ink.shape[0]), slice(x, x + ink.shape[1])
        image[window] = _blend(image[window], ink, rng)
        taken[window] |= ink > 0
        placed.append(
            PlacedDigit(
                digit_id=int(sources.digit_ids[row]),
                label=int(sources.labels[row]),
                box=_visible_box(ink, x, y),
            )
        )
    if not placed:
        raise InputError(
            f'`heights` must fit an image of {size} px, but got {heights}; '
            'use smaller digits'
        )
    return np.rint(image).astype(np.uint8), placed


def _background(
    photos: tuple[npt.NDArray[np.uint8], ...],
    size: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """Draw a square of a photograph, (S, S, 3) from 0 to 255."""
    photo = photos[rng.integers(len(photos))]
    # Enlarged up to twice, never shrunk, so that the narrow strips of the
    # small splits look like the wide strip of the training split.
    # A larger image needs more than twice.
    largest = min(size, *photo.shape[:2])
    side = int(rng.integers(min(size // 2, largest), largest + 1))
    y = int(rng.integers(photo.shape[0] - side + 1))
    x = int(rng.integers(photo.shape[1] - side + 1))
    crop = photo[y : y + side, x : x + side]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    crop = cv2.resize(
        np.ascontiguousarray(crop, dtype=np.float32), (size, size)
    )
    gain = rng.uniform(*_BACKGROUND_GAINS, size=3)
    return np.clip(crop * gain, 0, 255).astype(np.float32)


def _draw_digit(
    digit: npt.NDArray[np.float32],
    heights: tuple[int, int],
    rng: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """Enlarge an (8, 8) digit to (h, w) ink from 0 to 1, without margin."""
    height = np.exp(rng.uniform(*np.log(heights)))
    scale = height / digit.shape[0]
    angle = np.deg2rad(rng.uniform(-12, 12))
    shear = rng.uniform(-0.15, 0.15)
    aspect = rng.uniform(0.85, 1.25)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )
    matrix = scale * turn @ np.array([[aspect, shear], [0, 1]])
    side = int(np.ceil(2 * height))
    source_center = np.full(2, (digit.shape[0] - 1) / 2)
    shift = (side - 1) / 2 - matrix @ source_center
    gray = cv2.warpAffine(
        digit,
        np.column_stack([matrix, shift]),
        (side, side),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    threshold = rng.uniform(0.25, 0.45)
    ink = np.clip((gray - threshold) / 0.3, 0, 1)
    rows = np.flatnonzero(ink.any(axis=1))
    columns = np.flatnonzero(ink.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _free_corner(
    ink: npt.NDArray[np.float32],
    taken: npt.NDArray[np.bool_],
    placed: list[PlacedDigit],
    max_shift: int | None,
    rng: np.random.Generator,
) -> tuple[int, int] | None:
    """Draw a top left corner; None if the digit would touch another."""
    height, width = ink.shape
    room_y, room_x = taken.shape[0] - height, taken.shape[1] - width
    if room_y < 0 or room_x < 0:
        return None
    y = _draw_offset(room_y, max_shift, rng)
    x = _draw_offset(room_x, max_shift, rng)
    if (taken[y : y + height, x : x + width] & (ink > 0)).any():
        return None
    box = _visible_box(ink, x, y)
    if any(_overlap(box, digit.box) > _MAX_OVERLAP for digit in placed):
        return None
    return x, y


def _draw_offset(
    room: int, max_shift: int | None, rng: np.random.Generator
) -> int:
    """Draw from 0 to ``room``, within ``max_shift`` of its middle."""
    shift = room if max_shift is None else max_shift
    low, high = max(room // 2 - shift, 0), min(room // 2 + shift, room)
    return int(rng.integers(low, high + 1))


def _visible_box(
    ink: npt.NDArray[np.float32], x: int, y: int
) -> tuple[int, int, int, int]:
    """Return the tight box of ink whose corner is placed at (x, y)."""
    rows = np.flatnonzero((ink >= _VISIBLE).any(axis=1))
    columns = np.flatnonzero((ink >= _VISIBLE).any(axis=0))
    return (
        int(x + columns[0]),
        int(y + rows[0]),
        int(columns[-1] - columns[0] + 1),
        int(rows[-1] - rows[0] + 1),
    )


def _overlap(
    a: tuple[int, int, int, int], b: tuple[int, int, int, int]
) -> float:
    """Return the shared area of two boxes as a share of the smaller box."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / min(a[2] * a[3], b[2] * b[3])


def _blend(
    background: npt.NDArray[np.float32],
    ink: npt.NDArray[np.float32],
    rng: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """Paint ink (h, w) in a light color on a background, (h, w, 3)."""
    opacity = ink[..., None]
    while True:
        color = rng.uniform(*_CHANNELS, size=3)
        if color.mean() - background.mean() >= _MIN_CONTRAST:
            break
    return (background * (1 - opacity) + color * opacity).astype(np.float32)
