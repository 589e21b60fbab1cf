"""The algorithm of a search, from its config."""

from collections.abc import Callable, Mapping, Sequence

from detnas_mm.search import (
    Evolution,
    GivenPaths,
    RandomSearch,
    SearchAlgorithm,
)
from detnas_mm.structures import Path, SearchSpace

_KINDS = {'evolution': Evolution, 'random': RandomSearch}


def algorithm_settings(
    algorithm: str,
    *,
    paths: Sequence[str],
    population: int,
    lookahead: int,
    **evolution: float | None,
) -> dict:
    """Returns what defines an algorithm, as plain data.

    Args:
        algorithm: ``'evolution'``, ``'random'`` or ``'given'``.
        paths: The paths of the algorithm ``'given'``.
        population: Number of paths of a generation.
        lookahead: How many generations are begun before one has ended.
        evolution: Further settings of the algorithm ``'evolution'``.

    Raises:
        ValueError: If the algorithm is unknown or ``lookahead`` negative.
    """
    if lookahead < 0:
        raise ValueError(f'`lookahead` must be at least 0, got {lookahead}')
    if algorithm == 'given':
        return dict(type=algorithm, paths=list(paths))
    if algorithm not in _KINDS:
        raise ValueError(
            f'`algorithm` must be one of {", ".join(_KINDS)} or given, got '
            f'{algorithm!r}'
        )
    settings = dict(type=algorithm, population=population)
    if algorithm == 'evolution':
        settings.update(evolution)
    if lookahead:
        settings.update(lookahead=lookahead)
    return settings


def build_algorithm(
    settings: Mapping,
    space: SearchSpace,
    *,
    is_legal: Callable[[Path], bool],
    seed: int,
) -> SearchAlgorithm:
    """Builds an algorithm.

    Args:
        settings: What :func:`algorithm_settings` gave.
        space: The search space.
        is_legal: Says whether a path meets the constraint.
        seed: Seed of every random choice.
    """
    settings = dict(settings)
    kind = settings.pop('type')
    # That is a matter of when the algorithm is asked.
    settings.pop('lookahead', None)
    if kind == 'given':
        return GivenPaths(space, **settings)
    return _KINDS[kind](space, is_legal=is_legal, seed=seed, **settings)
