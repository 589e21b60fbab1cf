"""Search splits: images held out of the training images (Section 4).

Candidates are compared on images that are neither trained on nor part of the
final test. What is held out depends on the images and the seed alone.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TypeVar

import numpy as np

from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import write_atomically

Image = TypeVar('Image', bound=Hashable)


def hold_out(
    images: Iterable[Image], count: int, seed: int | Sequence[int]
) -> set[Image]:
    """Draws the images of a search split.

    Args:
        images: Identifiers of all training images, in any order.
        count: How many of them are held out.
        seed: Seed of the choice.

    Raises:
        InputError: If an image comes twice, or there are not more than
            ``count``.
    """
    ordered = sorted(images)
    for before, after in zip(ordered, ordered[1:], strict=False):
        if before == after:
            raise InputError(f'training image {after} is listed twice')
    if not 0 < count < len(ordered):
        raise InputError(
            f'the number of images held out must be 1 to {len(ordered) - 1}, '
            f'fewer than the {len(ordered):,} training images, got {count}'
        )
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(ordered), size=count, replace=False)
    return {ordered[index] for index in chosen.tolist()}


def require_disjoint(splits: Mapping[str, Iterable[Hashable]]) -> None:
    """Makes sure that no two splits share an image.

    Args:
        splits: Identifiers of the images of each split, by its name.

    Raises:
        InputError: If two of them do.
    """
    sets = {name: set(images) for name, images in splits.items()}
    for (name, images), (other, others) in combinations(sets.items(), 2):
        shared = images & others
        if shared:
            raise InputError(
                f'{name} and {other} share {len(shared):,} images, such as '
                f'{min(shared, key=str)}'
            )


def write_split(file: Path, text: str) -> None:
    """Writes an annotation file, but never over another split.

    A split that changes under a trained supernet would have it searched on
    images that it was trained on.

    Raises:
        InputError: If the file is there with another content.
    """
    if file.exists() and file.read_text() != text:
        raise InputError(
            f'{file} holds another split; use its seed and number of images, '
            'or delete it and what was trained with it'
        )
    write_atomically(file, text)
