"""Which of several things are worse than another in no respect."""

from collections.abc import Sequence

import numpy as np

from detnas_mm.structures.candidate import Candidate, Status


def pareto_ranks(values: np.ndarray) -> np.ndarray:
    """Sorts points into fronts (non-dominated sorting).

    A point dominates another if it is at least as good in every objective
    and better in one. Front 0 is dominated by none; front ``k`` only by
    points of the fronts before it.

    Args:
        values: Shape ``(N, M)``, M objectives of N points, all of them
            better when higher.

    Returns:
        The number of the front of each point, of shape ``(N, )``.
    """
    values = np.asarray(values, dtype=float)
    at_least = (values[:, None] >= values[None]).all(axis=2)
    better = (values[:, None] > values[None]).any(axis=2)
    dominates = at_least & better
    ranks = np.full(len(values), -1)
    rank = 0
    while (ranks < 0).any():
        left = ranks < 0
        dominated = dominates[left].any(axis=0)
        ranks[left & ~dominated] = rank
        rank += 1
    return ranks


def pareto_front(
    candidates: Sequence[Candidate],
    minimise: Sequence[str] = ('macs',),
    maximise: Sequence[str] = (),
) -> list[Candidate]:
    """Returns the candidates that none other beats in scores and costs.

    Of several equal in all only the earliest is taken.

    Args:
        candidates: Candidates; failed ones are left out.
        minimise: The costs, names of fields of a candidate.
        maximise: Scores beside the fitness, keys of its metrics.

    Returns:
        The front in the order of the first cost, the cheapest first; without
        costs, of the fitness, the fittest last.
    """
    points = {}
    for one in candidates:
        if one.status is Status.COMPLETE:
            scores = [one.metrics[name] for name in maximise]
            costs = [-getattr(one, cost) for cost in minimise]
            points.setdefault((one.fitness, *scores, *costs), one)
    if not points:
        return []
    ranks = pareto_ranks(np.array(list(points)))
    front = [
        one
        for one, rank in zip(points.values(), ranks, strict=True)
        if rank == 0
    ]
    order = minimise[0] if minimise else 'fitness'
    return sorted(front, key=lambda one: getattr(one, order))
