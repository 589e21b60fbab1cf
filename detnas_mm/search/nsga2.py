"""Search for a Pareto front (NSGA-II, Deb et al., 2002).

The paper searches for one backbone under a bound; NSGA-II finds the best
backbone for each cost in one search. It is written here because the NSGA-II
of pymoo resumes from a pickled state, not from a record, and removes
duplicates of one population only, not of all generations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from detnas_mm.search.base import Pending, PopulationSearch, Proposal
from detnas_mm.search.operators import crossover, mutate, require_mutation_prob
from detnas_mm.structures import ArchPath, Origin, pareto_ranks

Costs = Callable[[ArchPath], Sequence[float]]


@dataclass(eq=False, kw_only=True)
class NSGA2(PopulationSearch):
    """Multi-objective evolution: maximizes scores and minimizes costs.

    Parents are the ``population`` best paths of all generations, by rank of
    their front and, within a front, by crowding distance. Each child is a
    crossover of the winners of two binary tournaments among the parents, then
    mutated. A child that breaks the constraint or was already evaluated is
    drawn again.

    Args:
        mutation_prob: Probability that a choice of a child is redrawn.
        costs: Returns the costs of a path, all to be minimized.

    The other settings are those of :class:`PopulationSearch`.
    """

    mutation_prob: float = 0.1
    costs: Costs

    def __post_init__(self) -> None:
        super().__post_init__()
        require_mutation_prob(self.mutation_prob)

    def propose(self, pending: Pending = ()) -> list[Proposal]:
        parents = self._select_parents()
        origin = Origin.CROSSOVER if parents else Origin.RANDOM
        origins = [origin] * self.population
        make_child = partial(self._make_child, parents)
        return self.draw_generation(origins, make_child, pending)

    def _make_child(
        self,
        parents: Sequence[ArchPath],
        origin: Origin,
        rng: np.random.Generator,
    ) -> ArchPath:
        child = crossover(
            tournament(parents, rng), tournament(parents, rng), rng
        )
        return mutate(child, self.space, self.mutation_prob, rng)

    def _select_parents(self) -> list[ArchPath]:
        """Return the parents of the next generation, best first."""
        scored = {
            path: scores
            for path, scores in self.measured().items()
            if self.is_legal(path)
        }
        if not scored:
            return []
        objectives = np.array(
            [
                (*scores, *(-cost for cost in self.costs(path)))
                for path, scores in scored.items()
            ]
        )
        paths = list(scored)
        order = order_by_front(objectives)[: self.population]
        return [paths[index] for index in order]


def order_by_front(objectives: np.ndarray) -> list[int]:
    """Order points by the rank of their front, then by crowding distance.

    Args:
        objectives: Shape ``(N, M)``, M objectives of N points; higher is
            better.

    Returns:
        The indices of the points, best first.
    """
    ranks = pareto_ranks(objectives)
    distances = np.zeros(len(objectives))
    for rank in np.unique(ranks):
        front = ranks == rank
        distances[front] = crowding_distances(objectives[front])
    # Stable: the earlier among equals comes first.
    return np.lexsort((-distances, ranks)).tolist()


def crowding_distances(values: np.ndarray) -> np.ndarray:
    """Return the distance of each point of a front to its neighbors.

    Args:
        values: Shape ``(N, M)``, M objectives of N points.

    Returns:
        Shape ``(N, )``: for each point the sum over the objectives of the gap
        between its two neighbors, as a share of the range; infinite for the
        points at the ends.
    """
    distances = np.zeros(len(values))
    for column in values.T:
        order = np.argsort(column, kind='stable')
        ordered = column[order]
        extent = ordered[-1] - ordered[0]
        distances[order[[0, -1]]] = np.inf
        if extent > 0:
            distances[order[1:-1]] += (ordered[2:] - ordered[:-2]) / extent
    return distances


def tournament(
    ranked: Sequence[ArchPath], rng: np.random.Generator
) -> ArchPath:
    """Draw two paths, which are ranked best first; return the better."""
    return ranked[int(rng.integers(len(ranked), size=2).min())]
