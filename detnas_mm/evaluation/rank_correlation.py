"""How well a score ranks networks: rank correlations with intervals.

The intervals are bootstrap percentiles: the networks are drawn again with
replacement. With a dozen networks they are wide, and that is what they are
for.
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
    """How well a score ranks networks by their results.

    Attributes:
        kendall: Kendall's tau-b.
        spearman: Spearman's rho.
        top_k_recall: Share of the k best networks by result that are among
            the k best by score.
    """

    kendall: Estimate
    spearman: Estimate
    top_k_recall: Estimate


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """Draws networks again, the same ones for all statistics.

    Attributes:
        resamples: How often.
        seed: Seed of the draws.
        confidence: Share of the draws that an interval covers.

    Raises:
        InputError: If there are no draws.
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
        """Returns a statistic of ``count`` networks with its interval.

        Args:
            statistic: Takes the indices of networks.
            count: The number of networks.
        """
        rng = np.random.default_rng(self.seed)
        draws = rng.integers(count, size=(self.resamples, count))
        values = np.array([statistic(indices) for indices in draws])
        tail = (1 - self.confidence) / 2
        # Drawn again, all scores can be equal: such draws say nothing.
        low, high = np.nanquantile(values, [tail, 1 - tail])
        value = statistic(np.arange(count))
        return Estimate(float(value), float(low), float(high))


def kendall(scores: np.ndarray, results: np.ndarray) -> float:
    """Kendall's tau-b; NaN if one side is constant."""
    if _is_constant(scores) or _is_constant(results):
        return np.nan
    # The method is that of the p-value, which is not needed here.
    return stats.kendalltau(scores, results, method='asymptotic').statistic


def spearman(scores: np.ndarray, results: np.ndarray) -> float:
    """Spearman's rho; NaN if one side is constant."""
    if _is_constant(scores) or _is_constant(results):
        return np.nan
    return stats.spearmanr(scores, results).statistic


def top_k_recall(k: int, scores: np.ndarray, results: np.ndarray) -> float:
    """Share of the k best by result that are among the k best by score.

    Of equals, the first ones are taken.
    """
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
    """Compares the ranking by a score with that by results.

    Args:
        scores: The score of each network, higher is better.
        results: Its result, higher is better.
        k: How many of the best are compared.
        bootstrap: How intervals are drawn.

    Raises:
        InputError: If there are fewer than three networks or no more than
            ``k``, or all scores or all results are equal, or one is not
            finite.
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
    """How much higher Kendall's tau of a score is than that of a baseline.

    Both are computed from the same draws of networks: the interval says
    whether the score beats the baseline.
    """
    scores, baseline, results = (
        np.array(values, float) for values in (scores, baseline, results)
    )

    def difference(indices: np.ndarray) -> float:
        of_results = results[indices]
        return kendall(scores[indices], of_results) - kendall(
            baseline[indices], of_results
        )

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
            f'`k` must be 1 to {len(scores) - 1}, fewer than there are '
            f'networks, got {k}'
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
                f'all {name} are equal ({values[0]:g}): there is nothing to '
                'rank'
            )
