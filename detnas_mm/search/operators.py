"""Mutation and crossover of paths: pure functions of their arguments."""

from collections.abc import Sequence

import numpy as np

from detnas_mm.structures import ArchPath, SearchSpace
from detnas_mm.utils.errors import InputError


def mutate(
    path: ArchPath, space: SearchSpace, prob: float, rng: np.random.Generator
) -> ArchPath:
    """Redraws each choice with probability ``prob``.

    A redrawn choice may be the one that was there, as in the authors' code.
    """
    redrawn = rng.random(space.num_blocks) < prob
    drawn = space.random_path(rng)
    return tuple(
        new if redraw else old
        for old, new, redraw in zip(path, drawn, redrawn, strict=True)
    )


def crossover(
    first: ArchPath, second: ArchPath, rng: np.random.Generator
) -> ArchPath:
    """Takes each choice from either parent with the same chance."""
    from_first = rng.random(len(first)) < 0.5
    return tuple(
        one if take else other
        for one, other, take in zip(first, second, from_first, strict=True)
    )


def pick(paths: Sequence[ArchPath], rng: np.random.Generator) -> ArchPath:
    """Draws one of the paths."""
    return paths[int(rng.integers(len(paths)))]


def require_mutation_prob(mutation_prob: float) -> None:
    """Makes sure that choices are redrawn with a probability, and at all.

    Raises:
        InputError: If it is out of its range.
    """
    if not 0 < mutation_prob <= 1:
        raise InputError(
            '`mutation_prob` must be more than 0 and at most 1, got '
            f'{mutation_prob}'
        )
