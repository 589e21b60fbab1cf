"""Evolutionary search (Section 3.4, Algorithm 2) and its random baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from detnas_mm.search.base import Pending, PopulationSearch, Proposal
from detnas_mm.search.operators import (
    crossover,
    mutate,
    mutate_stage,
    pick,
    require_mutation_prob,
)
from detnas_mm.structures import ArchPath, Origin
from detnas_mm.utils.errors import InputError


@dataclass(eq=False, kw_only=True)
class Evolution(PopulationSearch):
    """Evolutionary search as in the paper.

    The first generation is random. Later ones consist of children of the
    ``parents`` fittest paths of all generations: half of them by mutation,
    half by crossover (Section 3.4). The authors' code makes 20 by mutation,
    20 by crossover and 10 random paths in a generation of 50. A child that
    breaks the constraint or was already evaluated is drawn again.

    Args:
        parents: Number of fittest paths that have children. With one parent
            crossover makes nothing new: random paths take its place.
        mutation_prob: Probability that a choice of a mutated path is redrawn.
        num_mutation: Children by mutation in a generation. Defaults to half
            of the paths that crossover and random drawing leave.
        num_crossover: Children by crossover in a generation. Defaults to the
            remaining paths.
        num_random: Random paths in each generation after the first.

    The other settings are those of :class:`PopulationSearch`. With a
    ``concentration``, half of the mutations redraw a whole stage.
    """

    parents: int = 10
    mutation_prob: float = 0.1
    num_mutation: int | None = None
    num_crossover: int | None = None
    num_random: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if (
            type(self.parents) is not int
            or not 1 <= self.parents <= self.population
        ):
            raise InputError(
                f'`parents` must be 1 to `population` ({self.population}), '
                f'got {self.parents!r}; set both settings of the algorithm'
            )
        require_mutation_prob(self.mutation_prob)
        self.num_mutation, self.num_crossover = _split_children(
            self.population,
            self.num_mutation,
            self.num_crossover,
            self.num_random,
        )

    def propose(self, pending: Pending = ()) -> list[Proposal]:
        parents = [item.path for item in self.fittest(self.parents)]
        origins = [Origin.RANDOM] * self.population
        if parents:
            origins = (
                [Origin.MUTATION] * self.num_mutation
                + [Origin.CROSSOVER] * self.num_crossover
                + [Origin.RANDOM] * self.num_random
            )
        make_child = partial(self.make_child, parents)
        return self.draw_generation(origins, make_child, pending)

    def make_child(
        self,
        parents: Sequence[ArchPath],
        origin: Origin,
        rng: np.random.Generator,
    ) -> ArchPath:
        parent = pick(parents, rng)
        if origin is Origin.CROSSOVER:
            return crossover(parent, pick(parents, rng), rng)
        if self.concentration is not None and rng.random() < 0.5:
            return mutate_stage(parent, self.space, self.concentration, rng)
        return mutate(parent, self.space, self.mutation_prob, rng)


class RandomSearch(PopulationSearch):
    """Random baseline of the paper: every generation is random.

    It takes the arguments of :class:`PopulationSearch`.
    """

    def propose(self, pending: Pending = ()) -> list[Proposal]:
        origins = [Origin.RANDOM] * self.population
        return self.draw_generation(origins, pending=pending)


def _split_children(
    population: int,
    num_mutation: int | None,
    num_crossover: int | None,
    num_random: int,
) -> tuple[int, int]:
    """Return the numbers of children by mutation and by crossover."""
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
