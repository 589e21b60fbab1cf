"""Which of several things are worse than another in no respect."""

from collections.abc import Sequence

import numpy as np

from .candidate import Candidate, Status


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


def pareto_front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Returns the candidates that none other beats in fitness and MACs.

    Of several equal in both only the earliest is taken.

    Args:
        candidates: Candidates; failed ones are left out.

    Returns:
        The front in the order of MACs, which is that of fitness, too.
    """
    complete = [c for c in candidates if c.status is Status.COMPLETE]
    front: list[Candidate] = []
    by_cost = sorted(complete, key=lambda c: (c.macs, -c.fitness, c.index))
    for candidate in by_cost:
        if not front or candidate.fitness > front[-1].fitness:
            front.append(candidate)
    return front
