"""Mutation and crossover: pure functions of paths and a generator."""

from collections.abc import Sequence

import numpy as np

from detnas_mm.structures import ArchPath, SearchSpace
from detnas_mm.utils.errors import InputError


def mutate(
    path: ArchPath, space: SearchSpace, prob: float, rng: np.random.Generator
) -> ArchPath:
    """Redraw each choice with probability ``prob``.

    The new choice may equal the old one, as in the authors' code.
    """
    is_redrawn = rng.random(space.num_blocks) < prob
    drawn = space.random_path(rng)
    return tuple(
        new if redraw else old
        for old, new, redraw in zip(path, drawn, is_redrawn, strict=True)
    )


def mutate_stage(
    path: ArchPath,
    space: SearchSpace,
    concentration: float,
    rng: np.random.Generator,
) -> ArchPath:
    """Redraw all choices of one stage, as an uneven path has them.

    Not part of the paper. ``concentration`` is that of
    :meth:`SearchSpace.random_paths`.
    """
    stage = int(rng.integers(len(space.stage_blocks)))
    drawn = space.random_path(rng, concentration)
    return tuple(
        new if block.stage == stage else old
        for old, new, block in zip(path, drawn, space.blocks, strict=True)
    )


def crossover(
    first: ArchPath, second: ArchPath, rng: np.random.Generator
) -> ArchPath:
    """Take each choice from either parent with equal probability."""
    from_first = rng.random(len(first)) < 0.5
    return tuple(
        a if take_first else b
        for a, b, take_first in zip(first, second, from_first, strict=True)
    )


def pick(paths: Sequence[ArchPath], rng: np.random.Generator) -> ArchPath:
    """Draw one path of a sequence."""
    return paths[int(rng.integers(len(paths)))]


def require_mutation_prob(mutation_prob: float) -> None:
    """Check that a mutation probability is in range."""
    is_number = isinstance(mutation_prob, (int, float))
    if not is_number or not 0 < mutation_prob <= 1:
        raise InputError(
            '`mutation_prob` must be more than 0 and at most 1, got '
            f'{mutation_prob!r}'
        )
