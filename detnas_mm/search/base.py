"""Interface of search algorithms, and the base of those that draw paths.

The next generation depends on the seed and on the results told so far, and
on nothing else. To resume a search, tell a new algorithm the same results.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

import numpy as np

from detnas_mm.search.operators import pick
from detnas_mm.structures import (
    ArchPath,
    ModelSummary,
    Origin,
    SearchSpace,
    require_concentration,
)
from detnas_mm.utils.errors import InputError

IsLegal = Callable[[ArchPath], bool]
MakeChild = Callable[[Origin, np.random.Generator], ArchPath]
# The fitness of a path, several scores of which the first is the fitness, or
# ``None`` if the evaluation failed.
Fitness = float | Sequence[float] | None
# Generations that are being evaluated: proposed, but not told yet.
Pending = Sequence[Sequence[ArchPath]]

# Maximum number of random paths drawn to find one that is new and legal.
MAX_RANDOM_DRAWS = 1_000_000
# The same for a child. It is lower because more draws do not help if the
# parents have no new child within the constraint.
MAX_CHILD_DRAWS = 1_000
# Random paths are drawn in batches: faster than one by one.
DRAW_BATCH = 256
# Spaces up to this size are enumerated if drawing finds nothing.
MAX_ENUMERATED_PATHS = 2_000_000


class NoLegalPathError(InputError):
    """No new path within the constraint could be drawn."""


class ScoredPath(NamedTuple):
    """A path with its fitness."""

    path: ArchPath
    fitness: float


class Proposal(NamedTuple):
    """A path to evaluate, with the step of the algorithm that made it."""

    path: ArchPath
    origin: Origin
    # What a model predicts, and its standard deviation.
    predicted: float | None = None
    predicted_std: float | None = None


class SearchAlgorithm(ABC):
    """What the search loop needs from an algorithm.

    Attributes:
        population: Number of paths of a generation.
    """

    population: int

    @abstractmethod
    def propose(self, pending: Pending = ()) -> list[Proposal]:
        """Return the next generation: each path with its origin.

        Calling it again before :meth:`tell` returns the same paths.

        Args:
            pending: Generations that were proposed and are not told yet, if
                the next one starts before they end.
        """

    @abstractmethod
    def tell(
        self, paths: Sequence[ArchPath], fitnesses: Sequence[Fitness]
    ) -> None:
        """Take the results of a whole generation.

        Args:
            paths: The paths, in any order.
            fitnesses: The fitness of each path, higher is better, or ``None``
                if its evaluation failed. Multi-objective algorithms take
                several scores for each path; the first is the fitness.
        """

    def summarize(self, pending: Pending = ()) -> ModelSummary | None:
        """Return what a model of the scores knows, if there is one."""
        return None

    def ask(self, pending: Pending = ()) -> list[ArchPath]:
        """Return the paths of the next generation."""
        return [proposal.path for proposal in self.propose(pending)]


@dataclass(eq=False)
class PopulationSearch(SearchAlgorithm):
    """Base of algorithms whose generations are new, legal, drawn paths.

    Args:
        space: The search space.
        population: Number of paths of a generation.
        is_legal: Returns whether a path meets the constraint.
        concentration: Of random paths, see
            :meth:`SearchSpace.random_paths`; by default all paths have the
            same chance, as in the paper.
        seed: Seed of every random choice.
    """

    space: SearchSpace
    _: KW_ONLY
    population: int = 50
    is_legal: IsLegal = lambda path: True
    concentration: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if type(self.population) is not int or self.population < 1:
            raise InputError(
                '`population` must be a whole number of at least 1, got '
                f'{self.population!r}'
            )
        if self.seed < 0:
            raise InputError(f'`seed` must be at least 0, got {self.seed}')
        if self.concentration is not None:
            require_concentration(self.concentration)
        self.generation = 0
        # Scores by path in the order of evaluation; None after a failure.
        self.results: dict[ArchPath, tuple[float, ...] | None] = {}

    def tell(
        self, paths: Sequence[ArchPath], fitnesses: Sequence[Fitness]
    ) -> None:
        if len(paths) != len(fitnesses):
            raise InputError(
                f'{len(paths)} `paths` need as many `fitnesses`, got '
                f'{len(fitnesses)}'
            )
        paths = [self.space.validate(path) for path in paths]
        for path, fitness in zip(paths, fitnesses, strict=True):
            if fitness is not None and not np.isfinite(fitness).all():
                raise InputError(
                    '`fitnesses` must be finite, or None for a failed path, '
                    f'got {fitness} for {self.space.format(path)}'
                )
        for path, fitness in zip(paths, fitnesses, strict=True):
            scores = None
            if fitness is not None:
                scores = tuple(np.atleast_1d(fitness).astype(float).tolist())
            # The first result of a path counts.
            self.results.setdefault(path, scores)
        self.generation += 1

    @property
    def best(self) -> ScoredPath | None:
        """The fittest path with its fitness, the earliest among equals."""
        return next(iter(self.fittest(1)), None)

    def measured(self) -> dict[ArchPath, tuple[float, ...]]:
        """Return the scores of all paths that have some."""
        return {p: scores for p, scores in self.results.items() if scores}

    def fittest(self, count: int) -> list[ScoredPath]:
        """Return the fittest legal paths of all generations, best first."""
        scored = [
            ScoredPath(path, scores[0])
            for path, scores in self.measured().items()
            if self.is_legal(path)
        ]
        # Stable: the earlier among equals comes first.
        return sorted(scored, key=lambda item: -item.fitness)[:count]

    def draw_generation(
        self,
        origins: Sequence[Origin],
        make_child: MakeChild | None = None,
        pending: Pending = (),
    ) -> list[Proposal]:
        """Draw new legal paths; a random one if there is no new child."""
        generation = self.generation + len(pending)
        rng = np.random.default_rng((self.seed, generation))
        known = set(self.results).union(*pending)
        proposals = []
        for origin in origins:
            path = None
            if origin is not Origin.RANDOM:
                path = self._draw_child(make_child, origin, known, rng)
            if path is None:
                path, origin = self._draw_random(known, rng), Origin.RANDOM
            proposals.append(Proposal(path, origin))
            known.add(path)
        return proposals

    def _draw_child(
        self,
        make_child: MakeChild,
        origin: Origin,
        known: set[ArchPath],
        rng: np.random.Generator,
    ) -> ArchPath | None:
        for _ in range(MAX_CHILD_DRAWS):
            path = make_child(origin, rng)
            if path not in known and self.is_legal(path):
                return path
        return None

    def _draw_random(
        self, known: set[ArchPath], rng: np.random.Generator
    ) -> ArchPath:
        num_draws = min(MAX_RANDOM_DRAWS, 4 * self.space.size)
        for _ in range(math.ceil(num_draws / DRAW_BATCH)):
            for path in self.space.random_paths(
                rng, DRAW_BATCH, self.concentration
            ):
                if path not in known and self.is_legal(path):
                    return path
        is_small = self.space.size <= MAX_ENUMERATED_PATHS
        remaining = [
            path
            for path in (self.space.all_paths() if is_small else ())
            if path not in known and self.is_legal(path)
        ]
        if not remaining:
            raise NoLegalPathError(
                f'no new legal path was found after {len(known)} paths of a '
                f'space of {self.space.size}; widen the constraint, search '
                'fewer generations, or draw uneven paths by `concentration`'
            )
        return pick(remaining, rng)
