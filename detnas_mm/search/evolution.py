"""Evolutionary search (Section 3.4, Algorithm 2) and its random baseline.

Both ask for a generation of paths and are told the fitness of each. What they
ask next depends on the seed and on what they were told, on nothing else: to
resume a search is to tell it its record again.
"""

from collections.abc import Sequence

import numpy as np

from detnas_mm.search.base import History, IsLegal, Proposal, ScoredPath
from detnas_mm.search.operators import (
    crossover,
    mutate,
    pick,
    require_mutation_prob,
)
from detnas_mm.structures import ArchPath, Origin, SearchSpace
from detnas_mm.utils.errors import InputError


class Evolution:
    """Evolutionary search as in the paper.

    The first generation is random. Each later one has children of the
    ``parents`` fittest paths of all history: half of them mutated, half
    crossed (Section 3.4); the authors' code makes 20 mutated, 20 crossed and
    10 random ones of 50. A child that breaks the constraint or was already
    evaluated is drawn again.

    Args:
        space: The search space.
        population: Number of paths of a generation.
        parents: Number of the fittest paths that have children. A single
            parent has no crossed ones; random paths take their place.
        mutation_prob: Probability with which each choice of a mutated path
            is redrawn.
        is_legal: Says whether a path meets the constraint.
        seed: Seed of every random choice.
        num_mutation: Mutated children of a generation. Defaults to half of
            what the other two leave.
        num_crossover: Crossed children of a generation. Defaults to the
            rest.
        num_random: Random paths of each later generation.

    Raises:
        InputError: If a setting is out of its range.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        population: int = 50,
        parents: int = 10,
        mutation_prob: float = 0.1,
        is_legal: IsLegal = lambda path: True,
        seed: int = 0,
        num_mutation: int | None = None,
        num_crossover: int | None = None,
        num_random: int = 0,
    ) -> None:
        self._history = History(space, population, is_legal, seed)
        if not 1 <= parents <= population:
            raise InputError(
                f'`parents` must be 1 to `population` ({population}), got '
                f'{parents}'
            )
        require_mutation_prob(mutation_prob)
        self.parents = parents
        self.mutation_prob = mutation_prob
        self.num_mutation, self.num_crossover = _split_children(
            population, num_mutation, num_crossover, num_random
        )
        self.num_random = num_random

    def ask(
        self, pending: Sequence[Sequence[ArchPath]] = ()
    ) -> list[ArchPath]:
        """Returns the next generation: all legal, none told before.

        Asked twice without being told, it gives the same paths.

        Args:
            pending: The generations that were asked for and are not told
                yet. Their paths are not asked again.

        Raises:
            NoLegalPathError: If there are not enough legal paths left.
        """
        return [proposal.path for proposal in self.propose(pending)]

    def propose(
        self, pending: Sequence[Sequence[ArchPath]] = ()
    ) -> list[Proposal]:
        """Returns the next generation with the origin of each path."""
        parents = [one.path for one in self._history.top(self.parents)]
        origins = [Origin.RANDOM] * self._history.population
        if parents:
            origins = (
                [Origin.MUTATION] * self.num_mutation
                + [Origin.CROSSOVER] * self.num_crossover
                + [Origin.RANDOM] * self.num_random
            )

        def make(origin: Origin, rng: np.random.Generator) -> ArchPath:
            first = pick(parents, rng)
            if origin is Origin.CROSSOVER:
                return crossover(first, pick(parents, rng), rng)
            return mutate(first, self._history.space, self.mutation_prob, rng)

        return self._history.propose(origins, make, pending)

    def tell(
        self, paths: Sequence[ArchPath], fitnesses: Sequence[float | None]
    ) -> None:
        """Takes the fitness of each path of a whole generation.

        Args:
            paths: The paths, in any order.
            fitnesses: Their fitness, higher is better; ``None`` for a failed
                path, which never becomes a parent.
        """
        self._history.tell(paths, fitnesses)

    @property
    def best(self) -> ScoredPath | None:
        """The fittest path so far with its fitness."""
        return self._history.best


class RandomSearch:
    """The paper's random baseline: every generation is random.

    Args:
        space: The search space.
        population: Number of paths of a generation.
        is_legal: Says whether a path meets the constraint.
        seed: Seed of every random choice.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        population: int = 50,
        is_legal: IsLegal = lambda path: True,
        seed: int = 0,
    ) -> None:
        self._history = History(space, population, is_legal, seed)

    def ask(
        self, pending: Sequence[Sequence[ArchPath]] = ()
    ) -> list[ArchPath]:
        """Returns the next generation: all legal, none told or pending."""
        return [proposal.path for proposal in self.propose(pending)]

    def propose(
        self, pending: Sequence[Sequence[ArchPath]] = ()
    ) -> list[Proposal]:
        """Returns the next generation with the origin of each path."""
        origins = [Origin.RANDOM] * self._history.population
        return self._history.propose(origins, pending=pending)

    def tell(
        self, paths: Sequence[ArchPath], fitnesses: Sequence[float | None]
    ) -> None:
        """Takes the fitness of each path of a whole generation."""
        self._history.tell(paths, fitnesses)

    @property
    def best(self) -> ScoredPath | None:
        """The fittest path so far with its fitness."""
        return self._history.best


def _split_children(
    population: int,
    num_mutation: int | None,
    num_crossover: int | None,
    num_random: int,
) -> tuple[int, int]:
    """Returns how many children of a generation are mutated and crossed."""
    if num_mutation is None:
        rest = population - num_random - (num_crossover or 0)
        num_mutation = rest if num_crossover is not None else (rest + 1) // 2
    if num_crossover is None:
        num_crossover = population - num_random - num_mutation
    counts = (num_mutation, num_crossover, num_random)
    if min(counts) < 0 or sum(counts) != population:
        raise InputError(
            '`num_mutation`, `num_crossover` and `num_random` must add up to '
            f'`population` ({population}), got {counts}'
        )
    return num_mutation, num_crossover
