"""Search for a whole Pareto front (NSGA-II, Deb et al., 2002).

Beside the paper's search for one backbone under a bound: for each cost the
best backbone of that cost, in one search. It is ours and not pymoo's, whose
algorithm is resumed from its pickled state, while here the record is told
anew, and which drops duplicates of a population, not of the whole history.
"""

from collections.abc import Callable, Sequence

import numpy as np

from detnas_mm.search.base import History, IsLegal, Proposal, ScoredPath
from detnas_mm.search.operators import crossover, mutate, require_mutation_prob
from detnas_mm.structures import ArchPath, Origin, SearchSpace, pareto_ranks

Costs = Callable[[ArchPath], Sequence[float]]


class NSGA2:
    """Multi-objective evolution: high scores, and low costs.

    Parents are the ``population`` best of all history, by the number of
    their front and, within a front, by how far they are from their
    neighbours. Each child is crossed from two winners of binary tournaments
    among them, and mutated. A child that breaks the constraint or was already
    evaluated is drawn again.

    Args:
        space: The search space.
        costs: Returns the costs of a path, all of them to be low.
        population: Number of paths of a generation, and of parents.
        mutation_prob: Probability with which each choice is redrawn.
        is_legal: Says whether a path meets the constraint.
        seed: Seed of every random choice.

    Raises:
        ValueError: If a setting is out of its range.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        costs: Costs,
        population: int = 50,
        mutation_prob: float = 0.1,
        is_legal: IsLegal = lambda path: True,
        seed: int = 0,
    ) -> None:
        self._history = History(space, population, is_legal, seed)
        require_mutation_prob(mutation_prob)
        self.costs = costs
        self.mutation_prob = mutation_prob
        self._scores: dict[ArchPath, tuple[float, ...]] = {}

    def ask(
        self, pending: Sequence[Sequence[ArchPath]] = ()
    ) -> list[ArchPath]:
        """Returns the next generation: all legal, none told or pending."""
        return [proposal.path for proposal in self.propose(pending)]

    def propose(
        self, pending: Sequence[Sequence[ArchPath]] = ()
    ) -> list[Proposal]:
        """Returns the next generation with the origin of each path."""
        parents = self._parents()
        origin = Origin.CROSSOVER if parents else Origin.RANDOM

        def make(_: Origin, rng: np.random.Generator) -> ArchPath:
            child = crossover(
                tournament(parents, rng), tournament(parents, rng), rng
            )
            return mutate(child, self._history.space, self.mutation_prob, rng)

        origins = [origin] * self._history.population
        return self._history.propose(origins, make, pending)

    def tell(
        self,
        paths: Sequence[ArchPath],
        fitnesses: Sequence[float | Sequence[float] | None],
    ) -> None:
        """Takes the fitness of each path of a whole generation.

        Args:
            paths: The paths, in any order.
            fitnesses: Their fitness, or several scores of each of which the
                first is the fitness, all of them better when higher; ``None``
                for a failed path, which never becomes a parent.

        Raises:
            ValueError: If a score is not finite.
        """
        scores = [
            None if one is None else tuple(np.atleast_1d(one).tolist())
            for one in fitnesses
        ]
        self._history.require_finite(paths, fitnesses)
        self._history.tell(paths, [one and one[0] for one in scores])
        for path, one in zip(paths, scores, strict=True):
            if one is not None:
                self._scores.setdefault(tuple(path), one)

    @property
    def best(self) -> ScoredPath | None:
        """The fittest path so far with its fitness, whatever it costs."""
        return self._history.best

    def _parents(self) -> list[ArchPath]:
        """Returns the parents of the next generation, the best first."""
        scored = self._history.scored
        if not scored:
            return []
        values = np.array(
            [
                (
                    *self._scores[one.path],
                    *(-cost for cost in self.costs(one.path)),
                )
                for one in scored
            ]
        )
        ranks = pareto_ranks(values)
        distances = np.zeros(len(values))
        for rank in np.unique(ranks):
            front = ranks == rank
            distances[front] = crowding_distances(values[front])
        # Stable: the earlier among equals.
        order = np.lexsort((-distances, ranks))
        best = order[: self._history.population]
        return [scored[index].path for index in best.tolist()]


def crowding_distances(values: np.ndarray) -> np.ndarray:
    """Says how far each point of a front is from its neighbours.

    Args:
        values: Shape ``(N, M)``, M objectives of N points.

    Returns:
        Shape ``(N, )``: for each point the sum over the objectives of the gap
        between its two neighbours, as a share of the range; infinite for the
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
    """Draws two paths and returns the better one.

    Args:
        ranked: Paths, the best first.
        rng: The random generator.
    """
    return ranked[int(rng.integers(len(ranked), size=2).min())]
