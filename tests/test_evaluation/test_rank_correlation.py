"""Rank correlations, and what their intervals mean."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detnas_mm.evaluation.rank_correlation import (
    Bootstrap,
    kendall,
    kendall_difference,
    rank_agreement,
    top_k_recall,
)

QUICK = Bootstrap(resamples=200)
values = st.lists(st.integers(0, 6), min_size=3, max_size=10)


def tau_b(x, y):
    """By its definition, pair by pair."""
    pairs = itertools.combinations(range(len(x)), 2)
    signs = [(np.sign(x[i] - x[j]), np.sign(y[i] - y[j])) for i, j in pairs]
    agreeing = sum(a * b for a, b in signs)
    untied = [sum(abs(s[side]) for s in signs) for side in (0, 1)]
    return agreeing / math.sqrt(untied[0] * untied[1])


@given(values, st.randoms())
def test_kendall_is_tau_b(x, random):
    y = [random.randrange(7) for _ in x]
    ours = kendall(np.array(x), np.array(y))
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert math.isnan(ours)
    else:
        assert ours == pytest.approx(tau_b(x, y))


def test_perfect_and_reversed_ranking():
    results = [0.1, 0.5, 0.2, 0.9, 0.7, 0.3]
    settings = dict(k=2, bootstrap=QUICK)
    same = rank_agreement([r**3 for r in results], results, **settings)
    for estimate in (same.kendall, same.spearman, same.top_k_recall):
        # Whatever is drawn again, the ranking is the same.
        for number in (estimate.value, estimate.low, estimate.high):
            assert number == pytest.approx(1)
    reverse = rank_agreement([-r for r in results], results, **settings)
    assert reverse.kendall.value == pytest.approx(-1)
    assert reverse.spearman.value == pytest.approx(-1)
    assert reverse.top_k_recall.value == 0


def test_top_k_recall_counts_the_best():
    scores = np.array([9, 8, 7, 1, 2, 3])
    results = np.array([9, 1, 8, 7, 2, 3])
    assert top_k_recall(1, scores, results) == 1
    assert top_k_recall(2, scores, results) == 1 / 2
    assert top_k_recall(3, scores, results) == 2 / 3


def test_interval_covers_the_truth_about_as_often_as_it_says():
    """Networks whose true tau is known: 0, as the score is noise."""
    covered = 0
    for seed in range(40):
        scores, results = np.random.default_rng(seed).normal(size=(2, 20))
        bootstrap = Bootstrap(resamples=100, seed=seed, confidence=0.9)
        estimate = bootstrap.estimate(
            lambda i, s=scores, r=results: kendall(s[i], r[i]), 20
        )
        assert estimate.low < estimate.value < estimate.high
        covered += estimate.low <= 0 <= estimate.high
    assert 0.75 < covered / 40 < 0.99


def test_more_networks_give_narrower_intervals():
    rng = np.random.default_rng(0)
    results = rng.normal(size=100)
    scores = results + rng.normal(size=100)
    widths = []
    for count in (12, 100):
        one = rank_agreement(
            scores[:count], results[:count], k=3, bootstrap=QUICK
        ).kendall
        widths.append(one.high - one.low)
    assert widths[1] < widths[0] / 2


def test_same_seed_same_interval():
    rng = np.random.default_rng(0)
    scores, results = rng.normal(size=(2, 12))

    def run(seed):
        bootstrap = Bootstrap(resamples=100, seed=seed)
        return rank_agreement(scores, results, k=3, bootstrap=bootstrap)

    assert run(1) == run(1)
    assert run(1).kendall.value == run(2).kendall.value
    assert run(1).kendall != run(2).kendall


def test_difference_is_that_of_the_taus():
    rng = np.random.default_rng(0)
    results = rng.normal(size=30)
    good, bad = results + 0.1 * rng.normal(size=30), rng.normal(size=30)
    difference = kendall_difference(good, bad, results, QUICK)
    expected = tau_b(good, results) - tau_b(bad, results)
    assert difference.value == pytest.approx(expected)
    assert difference.low > 0.3
    nothing = kendall_difference(good, good, results, QUICK)
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ('scores', 'results', 'k', 'expected'),
    [
        ([1, 2], [1, 2], 1, 'at least 3'),
        ([1, 2, 3], [1, 2], 1, 'at least 3'),
        ([1, 2, 3], [1, 2, 3], 3, '`k` must be 1 to 2'),
        ([1, 2, 3], [1, 2, 3], 0, '`k` must be'),
        ([1, 1, 1], [1, 2, 3], 1, 'all scores are equal'),
        ([1, 2, 3], [2, 2, 2], 1, 'all results are equal'),
        ([1, 2, 3], [1, math.nan, 3], 1, 'finite, got nan for network 1'),
    ],
)
def test_what_cannot_be_ranked(scores, results, k, expected):
    with pytest.raises(ValueError, match=expected):
        rank_agreement(scores, results, k=k)
