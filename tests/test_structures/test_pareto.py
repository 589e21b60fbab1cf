"""Sorting into fronts, against the definition of dominance."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from kit.records import candidate

from detnas_mm.structures import pareto_front, pareto_ranks

# Few values, so that many are equal.
values = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=15
)


def dominates(point, other):
    pairs = zip(point, other, strict=True)
    return point != other and all(a >= b for a, b in pairs)


@given(values)
def test_front_is_dominated_only_by_the_fronts_before(points):
    ranks = pareto_ranks(np.array(points)).tolist()
    ranked = list(zip(points, ranks, strict=True))
    for point, rank in ranked:
        above = [r for p, r in ranked if dominates(p, point)]
        assert rank == max(above, default=-1) + 1


def test_any_number_of_points_and_objectives():
    assert pareto_ranks(np.zeros((0, 2))).tolist() == []
    assert pareto_ranks(np.array([[0.0], [1.0]])).tolist() == [1, 0]
    assert pareto_ranks(np.array([[0.0] * 3, [1.0] * 3])).tolist() == [1, 0]


@given(values)
def test_front_of_candidates_is_rank_0(points):
    """Of fitness and MACs, or of fitness and a metric: the same front."""
    candidates = [
        candidate(index, fitness=fitness, macs=macs, metrics={'m': -macs})
        for index, (fitness, macs) in enumerate(points)
    ]
    front = pareto_front(candidates)
    ranks = pareto_ranks(np.array([(f, -m) for f, m in points]))
    best = {points[index] for index in np.flatnonzero(ranks == 0)}
    assert {(c.fitness, c.macs) for c in front} == best
    assert len(front) == len(best)
    assert [c.macs for c in front] == sorted(c.macs for c in front)
    by_metric = pareto_front(candidates, ('m',))
    assert {c.index for c in by_metric} == {c.index for c in front}
    scores = [c.fitness for c in by_metric]
    assert scores == sorted(scores)


def test_failed_candidates_are_on_no_front():
    failed = candidate(0, fitness=None, status='failed', error='lost')
    assert pareto_front([failed]) == []
    assert pareto_front([failed, candidate(1)])[0].index == 1
