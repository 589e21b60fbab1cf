"""Search splits: images held out of the training images (Section 4).

Candidates are compared on images that are neither used for training nor part
of the final test. The split depends on the images and the seed alone. The
tools in ``tools/dataset_converters`` share these steps.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np

from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import write_atomically

Image = TypeVar('Image', bound=Hashable)


def hold_out(
    images: Iterable[Image], count: int, seed: int | Sequence[int]
) -> set[Image]:
    """Draw ``count`` of the training images, listed in any order."""
    ordered = sorted(images)
    for previous, image in pairwise(ordered):
        if previous == image:
            raise InputError(f'training image {image} is listed twice')
    if not 0 < count < len(ordered):
        raise InputError(
            f'the number of images held out must be 1 to {len(ordered) - 1}, '
            f'fewer than the {len(ordered):,} training images, got {count}'
        )
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(ordered), size=count, replace=False)
    return {ordered[index] for index in chosen.tolist()}


def require_disjoint(
    splits: Mapping[str, Iterable[Hashable]], items: str = 'images'
) -> None:
    """Check that no two splits share an image; ``items`` names the images."""
    sets = {name: set(images) for name, images in splits.items()}
    for first, second in combinations(sets, 2):
        shared = sets[first] & sets[second]
        if shared:
            raise InputError(
                f'{first} and {second} share {len(shared):,} {items}, such as '
                f'{min(shared, key=str)}'
            )


def write_split(file: Path, text: str) -> None:
    """Write an annotation file, but never replace another split.

    If a split changed after a supernet was trained, the search would score
    candidates on training images.
    """
    if file.exists() and file.read_text() != text:
        raise InputError(
            f'{file} holds another split; use its seed and number of images, '
            'or delete it and what was trained with it'
        )
    write_atomically(file, text)
