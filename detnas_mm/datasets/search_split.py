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
    """Draws the images of a search split.

    Args:
        images: Identifiers of all training images, in any order.
        count: Number of images to hold out.
        seed: Seed of the choice.

    Raises:
        InputError: If an image is listed twice, or if there are no more than
            ``count`` images.
    """
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
    """Checks that no two splits share an image.

    Args:
        splits: Identifiers of the images of each split, by its name.
        items: What to call them in the message.

    Raises:
        InputError: If two splits do.
    """
    sets = {name: set(images) for name, images in splits.items()}
    for (name_a, images_a), (name_b, images_b) in combinations(
        sets.items(), 2
    ):
        shared = images_a & images_b
        if shared:
            raise InputError(
                f'{name_a} and {name_b} share {len(shared):,} {items}, '
                f'such as {min(shared, key=str)}'
            )


def write_split(file: Path, text: str) -> None:
    """Writes an annotation file, unless another split is there.

    If a split changed after a supernet was trained, the search would score
    candidates on training images.

    Raises:
        InputError: If the file exists with other content.
    """
    if file.exists() and file.read_text() != text:
        raise InputError(
            f'{file} holds another split; use its seed and number of images, '
            'or delete it and what was trained with it'
        )
    write_atomically(file, text)
