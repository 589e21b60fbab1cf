"""Pareto fronts of points and of candidates."""

from collections.abc import Sequence
from operator import attrgetter

import numpy as np

from detnas_mm.structures.candidate import (
    Candidate,
    Status,
    best_candidate,
    costs_among,
    metrics_among,
)


def pareto_ranks(values: np.ndarray) -> np.ndarray:
    """Sort points into fronts (non-dominated sorting).

    A point dominates another if it is at least as good in every objective
    and better in one. No point dominates a point of front 0; only points of
    earlier fronts dominate a point of front ``k``.

    Args:
        values: Shape ``(N, M)``, M objectives of N points; higher is better
            in all of them.

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
        ranks[left & ~dominates[left].any(axis=0)] = rank
        rank += 1
    return ranks


def pareto_front(
    candidates: Sequence[Candidate],
    objectives: Sequence[str] = ('macs',),
) -> list[Candidate]:
    """Return the candidates that no other candidate dominates.

    Of candidates with equal objectives, only the earliest is returned.

    Args:
        candidates: Candidates; failed ones are left out.
        objectives: What counts beside the fitness: costs, as names of fields
            of a candidate, and keys of its metrics.

    Returns:
        The front, sorted by the first cost, the cheapest first; without
        costs, sorted by fitness, the fittest last.
    """
    costs, metrics = costs_among(objectives), metrics_among(objectives)
    points = {}
    for candidate in candidates:
        if candidate.status is Status.COMPLETE:
            point = (
                candidate.fitness,
                *(candidate.metrics[name] for name in metrics),
                *(-getattr(candidate, name) for name in costs),
            )
            points.setdefault(point, candidate)
    if not points:
        return []
    ranks = pareto_ranks(np.array(list(points)))
    front = [
        candidate
        for candidate, rank in zip(points.values(), ranks, strict=True)
        if rank == 0
    ]
    return sorted(front, key=attrgetter(costs[0] if costs else 'fitness'))


def last_gain(
    candidates: Sequence[Candidate], objectives: Sequence[str] = ()
) -> int | None:
    """Return the last generation that has the best, or one of the front.

    ``None`` if no candidate is complete. Without any of the objectives there
    is no front.
    """
    found = [best_candidate(candidates)]
    if objectives:
        found = pareto_front(candidates, objectives)
    return max((c.generation for c in found if c), default=None)
