"""Sources of the digits data set, cut into disjoint splits.

Digits: the 1797 handwritten digits of 8 x 8 pixels, 16 gray levels, that
ship with scikit-learn (``load_digits``). Backgrounds: its two photographs
(``load_sample_images``). Nothing is downloaded.

Shapes: N digits, H and W pixels of a photograph.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits, load_sample_images

CLASSES = tuple('0123456789')
# Share of each split: of the digits of a class, and of a photograph's width.
SPLIT_SHARES = {'train': 0.6, 'search': 0.2, 'test': 0.2}
# Split of the digits and photographs in each classification folder.
CROP_SPLITS = {'train': 'train', 'val': 'search'}
_SHUFFLE_STREAM = 1


@dataclass(frozen=True, eq=False)
class SplitSources:
    """Digits and photographs of one split.

    Attributes:
        digits: (N, 8, 8) float32, ink from 0 to 1.
        labels: (N,) the class of each digit.
        digit_ids: (N,) position in ``load_digits``.
        photos: (H, W, 3) uint8 RGB, one strip per photograph.
    """

    digits: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    digit_ids: npt.NDArray[np.int64]
    photos: tuple[npt.NDArray[np.uint8], ...]


def load_sources(seed: int) -> dict[str, SplitSources]:
    """Split digits at random and photographs by columns.

    No digit and no pixel of a photograph is in two splits, and each split has
    the same share of the digits of every class.
    """
    data = load_digits()
    photos = load_sample_images().images
    ids = split_digits(data.target, seed)
    strips = [_split_columns(photo) for photo in photos]
    return {
        split: SplitSources(
            digits=(data.images[ids[split]] / 16).astype(np.float32),
            labels=data.target[ids[split]],
            digit_ids=ids[split],
            photos=tuple(strip[split] for strip in strips),
        )
        for split in SPLIT_SHARES
    }


def split_digits(
    labels: npt.NDArray[np.int64], seed: int
) -> dict[str, npt.NDArray[np.int64]]:
    """Split the indices of ``labels``, class by class."""
    parts: dict[str, list[npt.NDArray[np.int64]]]
    parts = {split: [] for split in SPLIT_SHARES}
    for label in range(len(CLASSES)):
        rng = np.random.default_rng((seed, _SHUFFLE_STREAM, label))
        ids = rng.permutation(np.flatnonzero(labels == label))
        for split, (start, stop) in _share_bounds(len(ids)).items():
            parts[split].append(ids[start:stop])
    return {split: np.sort(np.concatenate(p)) for split, p in parts.items()}


def _split_columns(
    photo: npt.NDArray[np.uint8],
) -> dict[str, npt.NDArray[np.uint8]]:
    """Cut a photograph (H, W, 3) into one vertical strip per split."""
    bounds = _share_bounds(photo.shape[1])
    return {split: photo[:, slice(*bounds[split])] for split in bounds}


def _share_bounds(length: int) -> dict[str, tuple[int, int]]:
    """Return adjacent [start, stop) ranges of ``length`` items by split."""
    ends = np.rint(np.cumsum(list(SPLIT_SHARES.values())) * length).astype(int)
    starts = [0, *ends[:-1]]
    return {
        split: (int(start), int(stop))
        for split, start, stop in zip(SPLIT_SHARES, starts, ends, strict=True)
    }
