"""The algorithm of a search, from its config."""

from collections.abc import Callable, Mapping, Sequence

from detnas_mm.cost import COSTS, Constraint
from detnas_mm.executors.race import Race
from detnas_mm.search import (
    NSGA2,
    Evolution,
    FixedPaths,
    RandomSearch,
    SearchAlgorithm,
)
from detnas_mm.structures import ArchPath, SearchSpace
from detnas_mm.utils.errors import InputError

_KINDS = {'evolution': Evolution, 'random': RandomSearch}


def algorithm_settings(
    algorithm: str,
    *,
    paths: Sequence[str],
    population: int,
    lookahead: int,
    minimise: Sequence[str],
    mutation_prob: float,
    race: Race | None = None,
    maximise: Sequence[str] = (),
    **evolution: float | None,
) -> dict:
    """Returns what defines an algorithm, as plain data.

    Args:
        algorithm: ``'evolution'``, ``'random'`` or ``'given'``.
        paths: The paths of the algorithm ``'given'``.
        population: Number of paths of a generation.
        lookahead: How many generations are begun before one has ended.
        minimise: Costs to be low beside a high fitness: if there are any, the
            evolution is NSGA-II.
        mutation_prob: Probability that a choice of a mutated path is redrawn.
        race: Drops candidates that cannot become parents.
        maximise: Metrics to be high beside the fitness, with the same effect.
        evolution: Further settings of the algorithm ``'evolution'``.

    Raises:
        InputError: If the algorithm or a cost is unknown, ``lookahead``
            negative, or settings do not go together.
    """
    if not set(minimise) <= set(COSTS) or len(set(minimise)) < len(minimise):
        raise InputError(
            f'`minimise` must be some of {", ".join(COSTS)}, got '
            f'{", ".join(map(str, minimise))}'
        )
    if lookahead < 0:
        raise InputError(f'`lookahead` must be at least 0, got {lookahead}')
    objectives = [*minimise, *maximise]
    if race is not None and (algorithm != 'evolution' or objectives):
        raise InputError(
            "`race` goes with the algorithm 'evolution' of one objective: no "
            'other has parents that a candidate could fail to reach by its '
            f'score alone; got {algorithm!r} and further ones {objectives}'
        )
    if race is not None and lookahead:
        raise InputError(
            '`race` needs the parents of a generation before it begins, so '
            f'that `lookahead` must be 0, got {lookahead}'
        )
    if algorithm == 'given':
        return dict(type=algorithm, paths=list(paths))
    if algorithm not in _KINDS:
        raise InputError(
            f'`algorithm` must be one of {", ".join(_KINDS)} or given, got '
            f'{algorithm!r}'
        )
    settings = dict(type=algorithm, population=population)
    if algorithm == 'evolution' and (minimise or maximise):
        settings.update(
            type='nsga2',
            mutation_prob=mutation_prob,
            minimise=list(minimise),
        )
        if maximise:
            settings.update(maximise=list(maximise))
    elif algorithm == 'evolution':
        settings.update(mutation_prob=mutation_prob, **evolution)
    if lookahead:
        settings.update(lookahead=lookahead)
    if race is not None:
        settings.update(race=dict(parts=list(race.parts), risk=race.risk))
    return settings


def build_race(race: Mapping | bool, parents: int) -> Race | None:
    """Reads the settings of a race.

    Args:
        race: ``parts`` and ``risk`` of :class:`Race`, ``True`` for their
            defaults, ``False`` for none.
        parents: Number of the parents of the algorithm.

    Raises:
        InputError: If a setting is unknown or out of its range.
    """
    if race is False or race is None:
        return None
    settings = {} if race is True else dict(race)
    if not set(settings) <= {'parts', 'risk'}:
        raise InputError(
            '`race` has the settings parts and risk, got '
            f'{", ".join(settings)}'
        )
    return Race(parents=parents, **settings)


def build_algorithm(
    settings: Mapping,
    space: SearchSpace,
    *,
    constraint: Constraint,
    seed: int,
    total: int,
) -> SearchAlgorithm:
    """Builds an algorithm.

    Args:
        settings: What :func:`algorithm_settings` gave.
        space: The search space.
        constraint: The bounds, which know the costs of a path.
        seed: Seed of every random choice.
        total: How many paths will be asked for.

    Raises:
        InputError: If latency is to be low, and there is no table of it, or
            fewer paths keep the bounds.
    """
    settings = dict(settings)
    kind = settings.pop('type')
    # That is a matter of when the algorithm is asked.
    settings.pop('lookahead', None)
    settings.pop('race', None)
    if kind == 'given':
        return FixedPaths(space, **settings)
    constraint.require_legal_paths(total)
    settings.update(is_legal=constraint.is_legal, seed=seed)
    if kind == 'nsga2':
        costs = path_costs(constraint, settings.pop('minimise'))
        # The algorithm is told their values; it need not know the names.
        settings.pop('maximise', None)
        return NSGA2(space, costs=costs, **settings)
    return _KINDS[kind](space, **settings)


def path_costs(
    constraint: Constraint, names: Sequence[str]
) -> Callable[[ArchPath], list[float]]:
    """Returns a function that looks up the costs of a path.

    Raises:
        InputError: If latency is among them, and there is no table of it.
    """
    if 'latency' in names and constraint.latency_table is None:
        raise InputError(
            '`minimise` latency needs a table of it in the `constraint` '
            '(`latency_table`)'
        )
    lookups = [getattr(constraint, name) for name in names]
    return lambda path: [lookup(path) for lookup in lookups]
