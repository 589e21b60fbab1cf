"""What a search was told so far, and the drawing of paths new to it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np

from detnas_mm.search.operators import pick
from detnas_mm.structures import ArchPath, Origin, SearchSpace
from detnas_mm.utils.errors import InputError

IsLegal = Callable[[ArchPath], bool]
MakeChild = Callable[[Origin, np.random.Generator], ArchPath]

# Draws without a new legal path after which the search says so. A mutated or
# crossed child gives way to a random path much earlier: when the parents
# have no new child within the bounds, more draws do not help.
MAX_RANDOM_DRAWS = 1_000_000
MAX_CHILD_DRAWS = 1_000
# Spaces up to this size are listed when drawing finds nothing new.
MAX_LISTED_PATHS = 2_000_000


class NoLegalPathError(ValueError):
    """No new path within the constraint could be drawn."""


class ScoredPath(NamedTuple):
    """A path with its fitness."""

    path: ArchPath
    fitness: float


@dataclass(frozen=True)
class Proposal:
    """A path to be evaluated, and how the search came upon it."""

    path: ArchPath
    origin: Origin


class SearchAlgorithm(Protocol):
    """What the search loop needs of an algorithm."""

    def propose(
        self, pending: Sequence[Sequence[ArchPath]] = ()
    ) -> list[Proposal]:
        """Returns the paths of the next generation with their origins.

        Args:
            pending: The generations that were asked for and are not told
                yet, for a search that begins one before the last has ended.
        """

    def ask(
        self, pending: Sequence[Sequence[ArchPath]] = ()
    ) -> list[ArchPath]:
        """Returns the paths of the next generation."""

    def tell(
        self, paths: Sequence[ArchPath], fitnesses: Sequence[float | None]
    ) -> None:
        """Takes the fitness of each path of a generation."""


class History:
    """What an algorithm was told, and the drawing of paths new to it.

    Args:
        space: The search space.
        population: Number of paths of a generation.
        is_legal: Says whether a path meets the constraint.
        seed: Seed of every random choice.

    Raises:
        InputError: If a setting is out of its range.
    """

    def __init__(
        self, space: SearchSpace, population: int, is_legal: IsLegal, seed: int
    ) -> None:
        if population < 1:
            raise InputError(
                f'`population` must be at least 1, got {population}'
            )
        if seed < 0:
            raise InputError(f'`seed` must be at least 0, got {seed}')
        self.space = space
        self.population = population
        self.is_legal = is_legal
        self.seed = seed
        self.generation = 0
        self.seen: set[ArchPath] = set()
        self.scored: list[ScoredPath] = []

    def tell(
        self, paths: Sequence[ArchPath], fitnesses: Sequence[float | None]
    ) -> None:
        """Takes the fitness of each path of a whole generation."""
        if len(paths) != len(fitnesses):
            raise InputError(
                f'{len(paths)} `paths` need as many `fitnesses`, got '
                f'{len(fitnesses)}'
            )
        paths = [self.space.validate(path) for path in paths]
        self.require_finite(paths, fitnesses)
        for path, fitness in zip(paths, fitnesses, strict=True):
            if path not in self.seen and fitness is not None:
                self.scored.append(ScoredPath(path, float(fitness)))
            self.seen.add(path)
        self.generation += 1

    def require_finite(
        self,
        paths: Sequence[ArchPath],
        fitnesses: Sequence[float | Sequence[float] | None],
    ) -> None:
        """Makes sure that each path has a fitness or several, or failed.

        Raises:
            InputError: If a number is not finite.
        """
        for path, fitness in zip(paths, fitnesses, strict=False):
            if fitness is not None and not np.isfinite(fitness).all():
                raise InputError(
                    '`fitnesses` must be finite, or None for a failed path, '
                    f'got {fitness} for {self.space.format(path)}'
                )

    def rng(self, pending: int = 0) -> np.random.Generator:
        """Returns the generator of the next generation's choices.

        Args:
            pending: Number of generations that are asked for but not told.
        """
        return np.random.default_rng((self.seed, self.generation + pending))

    def top(self, count: int) -> list[ScoredPath]:
        """Returns the fittest of all history, the earlier among equals."""
        ranked = sorted(self.scored, key=lambda one: -one.fitness)
        return ranked[:count]

    @property
    def best(self) -> ScoredPath | None:
        """The fittest path so far with its fitness."""
        return next(iter(self.top(1)), None)

    def propose(
        self,
        origins: Sequence[Origin],
        make: MakeChild | None = None,
        pending: Sequence[Sequence[ArchPath]] = (),
    ) -> list[Proposal]:
        """Draws a generation: all legal, none told or pending.

        Args:
            origins: How each path is to be made. When the parents have no
                new child left, a random path takes its place.
            make: Makes a child.
            pending: The generations that are asked for but not told.

        Raises:
            NoLegalPathError: If there are not enough legal paths left.
        """
        rng = self.rng(len(pending))
        taken = {path for paths in pending for path in paths}
        proposals: list[Proposal] = []
        for origin in origins:
            path = None
            if origin is not Origin.RANDOM:
                path = self.draw_child(partial(make, origin, rng), taken)
            if path is None:
                path, origin = self.draw_random(taken, rng), Origin.RANDOM
            proposals.append(Proposal(path, origin))
            taken.add(path)
        return proposals

    def draw_random(
        self, taken: set[ArchPath], rng: np.random.Generator, batch: int = 256
    ) -> ArchPath:
        """Draws a legal path that is neither seen nor taken."""
        draws = min(MAX_RANDOM_DRAWS, 4 * self.space.size)
        for _ in range(math.ceil(draws / batch)):
            for path in self.space.random_paths(rng, batch):
                if self._is_new(path, taken):
                    return path
        return self._draw_from_all(taken, rng)

    def draw_child(
        self, make: Callable[[], ArchPath], taken: set[ArchPath]
    ) -> ArchPath | None:
        """Makes children until one is legal and new; gives up in the end."""
        for _ in range(MAX_CHILD_DRAWS):
            path = make()
            if self._is_new(path, taken):
                return path
        return None

    def _draw_from_all(
        self, taken: set[ArchPath], rng: np.random.Generator
    ) -> ArchPath:
        """Draws from the list of what is left, where a list is possible."""
        left = []
        if self.space.size <= MAX_LISTED_PATHS:
            left = [
                path
                for path in self.space.all_paths()
                if self._is_new(path, taken)
            ]
        if not left:
            raise NoLegalPathError(
                f'no new legal path was found after '
                f'{len(self.seen) + len(taken)} paths of a space of '
                f'{self.space.size}; widen the constraint or search fewer '
                'generations'
            )
        return pick(left, rng)

    def _is_new(self, path: ArchPath, taken: set[ArchPath]) -> bool:
        return (
            path not in taken and path not in self.seen and self.is_legal(path)
        )
