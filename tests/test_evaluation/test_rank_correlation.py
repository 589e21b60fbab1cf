"""Rank correlations and their intervals."""

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


def tau_b(x, y):
    """Kendall's tau-b by its definition, pair by pair."""
    pairs = itertools.combinations(range(len(x)), 2)
    signs = [(np.sign(x[i] - x[j]), np.sign(y[i] - y[j])) for i, j in pairs]
    concordance = sum(a * b for a, b in signs)
    untied = [sum(abs(sign[side]) for sign in signs) for side in (0, 1)]
    return concordance / math.sqrt(untied[0] * untied[1])


@given(st.lists(st.integers(0, 6), min_size=3, max_size=10), st.randoms())
def test_kendall_is_tau_b(x, random):
    y = [random.randrange(7) for _ in x]
    tau = kendall(np.array(x), np.array(y))
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert math.isnan(tau)
    else:
        assert tau == pytest.approx(tau_b(x, y))


def test_equal_and_reversed_rankings():
    results = [0.1, 0.5, 0.2, 0.9, 0.7, 0.3]
    settings = dict(k=2, bootstrap=QUICK)
    equal = rank_agreement([r**3 for r in results], results, **settings)
    for estimate in (equal.kendall, equal.spearman, equal.top_k_recall):
        # Every resample has the same ranking.
        for number in (estimate.value, estimate.low, estimate.high):
            assert number == pytest.approx(1)
    reverse = rank_agreement([-r for r in results], results, **settings)
    assert reverse.kendall.value == pytest.approx(-1)
    assert reverse.spearman.value == pytest.approx(-1)
    assert reverse.top_k_recall.value == 0


def test_top_k_recall_counts_the_best():
    scores = np.array([9, 8, 7, 1, 2, 3])
    results = np.array([9, 1, 8, 7, 2, 3])
    recalls = [top_k_recall(k, scores, results) for k in (1, 2, 3)]
    assert recalls == [1, 1 / 2, 2 / 3]


def test_interval_covers_the_truth_at_its_confidence():
    """The true tau is 0: the scores are noise."""
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


def test_same_seed_gives_the_same_interval():
    scores, results = np.random.default_rng(0).normal(size=(2, 12))
    first, same, other = (
        rank_agreement(
            scores, results, k=3, bootstrap=Bootstrap(resamples=100, seed=seed)
        )
        for seed in (1, 1, 2)
    )
    assert first == same
    assert first.kendall.value == other.kendall.value
    assert first.kendall != other.kendall


def test_difference_is_between_the_taus():
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
def test_impossible_rankings_are_refused(scores, results, k, expected):
    with pytest.raises(ValueError, match=expected):
        rank_agreement(scores, results, k=k)
