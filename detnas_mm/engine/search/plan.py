"""What a search is to do, from the settings of its loop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from detnas_mm.cost import Constraint
from detnas_mm.engine.search.algorithm import (
    algorithm_settings,
    build_algorithm,
    build_race,
)
from detnas_mm.engine.search.constraint import build_constraint
from detnas_mm.executors.race import Race
from detnas_mm.models import DetNASSupernet, resolve_architecture
from detnas_mm.search import SearchAlgorithm
from detnas_mm.utils.errors import InputError


@dataclass(frozen=True)
class SearchPlan:
    """What a search is to do.

    Attributes:
        generations: Number of generations.
        population: Number of paths of a generation.
        algorithm: Name and settings of the algorithm, as plain data.
        constraint: The bounds, on the backbone.
        whole_detector: Whether they are meant for the whole detector.
        race: Drops candidates that cannot become parents, if there is one.
        seed: Seed of every random choice.
    """

    generations: int
    population: int
    algorithm: Mapping
    constraint: Constraint
    whole_detector: bool
    race: Race | None
    seed: int

    @property
    def total(self) -> int:
        """Number of paths to evaluate."""
        return self.generations * self.population

    def build_algorithm(self, constraint: Constraint) -> SearchAlgorithm:
        """Builds the algorithm.

        Args:
            constraint: The bounds on the backbone, or what they are for the
                whole detector.

        Raises:
            InputError: If fewer paths keep the bounds than are to be
                evaluated, or there is no table of a cost that is to be low.
        """
        return build_algorithm(
            self.algorithm,
            constraint.space,
            constraint=constraint,
            seed=self.seed,
            total=self.total,
        )


def plan_search(
    supernet: DetNASSupernet,
    *,
    constraint: Mapping | None,
    algorithm: str,
    paths: Sequence[str],
    generations: int,
    population: int,
    parents: int,
    mutation_prob: float,
    num_mutation: int | None,
    num_crossover: int | None,
    num_random: int,
    minimise: Sequence[str],
    maximise: Sequence[str],
    lookahead: int,
    race: bool | Mapping,
    seed: int,
) -> SearchPlan:
    """Plans a search.

    The arguments are those of
    :class:`detnas_mm.engine.runner.search_loop.EvolutionSearchLoop`, and the
    supernet that is searched.

    Raises:
        InputError: If the constraint names a table that is not there.
        InputError: If a setting is out of its range, or some do not go
            together.
    """
    if generations < 1:
        raise InputError(
            f'`generations` must be at least 1, got {generations}'
        )
    is_given = algorithm == 'given'
    race = build_race(race, parents)
    if is_given:
        space = supernet.search_space
        known = [resolve_architecture(path, space) for path in paths]
        paths = [space.format(one.path) for one in known]
    constraint = constraint or {}
    return SearchPlan(
        generations=1 if is_given else generations,
        population=len(paths) if is_given else population,
        algorithm=algorithm_settings(
            algorithm,
            paths=paths,
            population=population,
            parents=parents,
            mutation_prob=mutation_prob,
            num_mutation=num_mutation,
            num_crossover=num_crossover,
            num_random=num_random,
            minimise=minimise,
            maximise=maximise,
            lookahead=lookahead,
            race=race,
        ),
        constraint=build_constraint(supernet, constraint),
        whole_detector=bool(constraint.get('whole_detector', False)),
        race=race,
        seed=seed,
    )
