"""Rank correlations of scores with results, with bootstrap intervals.

The intervals are percentiles over networks resampled with replacement. With a
dozen networks they are wide: they show how little such a sample proves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from detnas_mm.utils.errors import InputError

Statistic = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Estimate:
    """A statistic with the ends of its bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class RankAgreement:
    """Agreement of the ranking by a score with the ranking by results.

    Attributes:
        kendall: Kendall's tau-b.
        spearman: Spearman's rho.
        top_k_recall: Share of the k best networks by result that the k best
            by score contain.
    """

    kendall: Estimate
    spearman: Estimate
    top_k_recall: Estimate


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """Resamples networks, in the same way for all statistics.

    Attributes:
        resamples: Number of resamples.
        seed: Seed of the draws.
        confidence: Share of the resamples that an interval covers.
    """

    resamples: int = 1000
    seed: int = 0
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if self.resamples < 1:
            raise InputError(
                f'`resamples` must be at least 1, got {self.resamples}'
            )

    def estimate(
        self, statistic: Callable[[np.ndarray], float], count: int
    ) -> Estimate:
        """Return a statistic of indices below ``count``, with its interval."""
        rng = np.random.default_rng(self.seed)
        draws = rng.integers(count, size=(self.resamples, count))
        values = np.array([statistic(indices) for indices in draws])
        tail = (1 - self.confidence) / 2
        # NaN for resamples whose scores are all equal: leave them out.
        low, high = np.nanquantile(values, [tail, 1 - tail])
        value = statistic(np.arange(count))
        return Estimate(float(value), float(low), float(high))


def kendall(scores: np.ndarray, results: np.ndarray) -> float:
    """Kendall's tau-b; NaN if one side is constant."""
    if _is_constant(scores) or _is_constant(results):
        return np.nan
    # `method` is about the p-value, which is not used.
    return stats.kendalltau(scores, results, method='asymptotic').statistic


def spearman(scores: np.ndarray, results: np.ndarray) -> float:
    """Spearman's rho; NaN if one side is constant."""
    if _is_constant(scores) or _is_constant(results):
        return np.nan
    return stats.spearmanr(scores, results).statistic


def top_k_recall(k: int, scores: np.ndarray, results: np.ndarray) -> float:
    """Share of the k best by result that the k best by score contain."""
    # Stable: the earlier among equals comes first.
    best = [
        set(np.argsort(-values, kind='stable')[:k].tolist())
        for values in (scores, results)
    ]
    return len(best[0] & best[1]) / k


def rank_agreement(
    scores: Sequence[float],
    results: Sequence[float],
    *,
    k: int,
    bootstrap: Bootstrap | None = None,
) -> RankAgreement:
    """Compare the ranking by a score with the ranking by results.

    Higher is better in both. ``k`` is the number of best networks to compare.
    """
    scores, results = np.array(scores, float), np.array(results, float)
    _require_ranks(scores, results, k)
    bootstrap = bootstrap or Bootstrap()

    def estimate(statistic: Statistic) -> Estimate:
        return bootstrap.estimate(
            lambda indices: statistic(scores[indices], results[indices]),
            len(scores),
        )

    return RankAgreement(
        estimate(kendall),
        estimate(spearman),
        estimate(lambda *values: top_k_recall(k, *values)),
    )


def kendall_difference(
    scores: Sequence[float],
    baseline: Sequence[float],
    results: Sequence[float],
    bootstrap: Bootstrap | None = None,
) -> Estimate:
    """Return Kendall's tau of a score minus Kendall's tau of a baseline.

    Both use the same resamples: a score beats the baseline if the interval is
    above 0.
    """
    scores, baseline, results = (
        np.array(values, float) for values in (scores, baseline, results)
    )

    def difference(indices: np.ndarray) -> float:
        resampled = results[indices]
        score_tau = kendall(scores[indices], resampled)
        return score_tau - kendall(baseline[indices], resampled)

    return (bootstrap or Bootstrap()).estimate(difference, len(results))


def _is_constant(values: np.ndarray) -> bool:
    return bool((values == values[0]).all())


def _require_ranks(scores: np.ndarray, results: np.ndarray, k: int) -> None:
    if scores.shape != results.shape or len(scores) < 3:
        raise InputError(
            'a rank correlation needs the scores and results of at least 3 '
            f'networks, got {len(scores)} and {len(results)}'
        )
    if not 1 <= k < len(scores):
        raise InputError(
            f'`k` must be 1 to {len(scores) - 1}, fewer than the networks, '
            f'got {k}'
        )
    for name, values in (('scores', scores), ('results', results)):
        if not np.isfinite(values).all():
            index = int(np.flatnonzero(~np.isfinite(values))[0])
            raise InputError(
                f'`{name}` must be finite, got {values[index]} for network '
                f'{index}'
            )
        if _is_constant(values):
            raise InputError(
                f'all {name} are equal ({values[0]:g}): nothing to rank'
            )
