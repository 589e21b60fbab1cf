"""Which paths of a search are worth a training of their own."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np

from detnas_mm.structures import ArchPath, Candidate, SearchSpace, fittest

Macs = Callable[[ArchPath], int]

_RANDOM_DRAWS = 2_000


def pick_finalists(
    candidates: Sequence[Candidate],
    space: SearchSpace,
    count: int,
    min_distance: int,
) -> list[ArchPath]:
    """Pick the fittest candidates that differ from each other.

    Two paths differ in at least ``min_distance`` blocks; there may be fewer
    such paths than ``count``. The best comes first.
    """
    picked: list[ArchPath] = []
    for candidate in fittest(candidates):
        path = space.parse(candidate.path)
        if all(distance(path, other) >= min_distance for other in picked):
            picked.append(path)
        if len(picked) == count:
            break
    return picked


def distance(first: ArchPath, second: ArchPath) -> int:
    """Count the blocks in which two paths differ."""
    return sum(a != b for a, b in zip(first, second, strict=True))


def even_path(space: SearchSpace, macs: Macs, target: int) -> ArchPath:
    """Return the even path whose MACs are next to a target.

    It stands for a network made by hand: all stages are alike. The first
    block of each stage has one choice, the next ones another, and what is
    left a third.
    """
    paths = sorted(set(_even_paths(space)))
    return min(paths, key=lambda path: abs(macs(path) - target))


def _even_paths(space: SearchSpace) -> Iterator[ArchPath]:
    last = max(space.stage_blocks)
    digits = range(space.num_choices)
    for first, middle, rest in product(digits, repeat=3):
        for end in range(1, last + 1):
            path = tuple(
                first if place == 0 else middle if place < end else rest
                for blocks in space.stage_blocks
                for place in range(blocks)
            )
            allowed = zip(path, space.allowed_choices, strict=True)
            if all(digit in choices for digit, choices in allowed):
                yield path


def random_path_near(
    space: SearchSpace, macs: Macs, target: int, rng: np.random.Generator
) -> ArchPath:
    """Draw a path with about as many MACs as a target.

    It is the first within 2 %, or the nearest of many draws.
    """
    paths = space.random_paths(rng, _RANDOM_DRAWS)
    near = (p for p in paths if abs(macs(p) - target) <= 0.02 * target)
    nearest = min(paths, key=lambda path: abs(macs(path) - target))
    return next(near, nearest)
