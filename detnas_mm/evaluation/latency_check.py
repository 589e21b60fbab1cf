"""How well a table of latencies predicts whole networks."""

import math

import numpy as np
from scipy import stats

# A factor of two halves of networks counts if it differs by less.
_EQUAL_FACTORS = 0.03


def check_predictions(
    predicted: np.ndarray,
    rounds: np.ndarray,
    macs: np.ndarray,
    is_uneven: np.ndarray,
) -> tuple[float, dict[str, float]]:
    """Compare predicted with measured latencies of whole networks.

    The sums of blocks that ran alone may be too low by one factor. It is kept
    if the even and the uneven networks agree on it.

    Args:
        predicted: Sums of the table, of shape ``(N,)``.
        rounds: Measured ms, of shape ``(rounds, N)``; the minimum counts.
        macs: MACs of the networks, for comparison, of shape ``(N,)``.
        is_uneven: Which networks were drawn unevenly, of shape ``(N,)``.

    Returns:
        The factor, and the comparison: the error and Kendall's tau of the
        table, of the measurement repeated (one half of the rounds with the
        other), and of MACs, which get a factor too.
    """
    measured = rounds.min(axis=0)
    first, second = rounds[0::2].min(axis=0), rounds[1::2].min(axis=0)
    even = _factor(predicted[~is_uneven], measured[~is_uneven])
    uneven = _factor(predicted[is_uneven], measured[is_uneven])
    disagreement = uneven / even - 1
    scale = 1.0
    if abs(disagreement) <= _EQUAL_FACTORS:
        scale = _factor(predicted, measured)
    errors = predicted * scale / measured - 1
    of_macs = macs * _factor(macs, measured) / measured - 1
    check = {
        'paths': len(measured),
        'mape': float(np.abs(errors).mean()),  # relative to the measured
        'bias': float(errors.mean()),  # with sign
        'kendall': _kendall(predicted, measured),
        'spearman': float(stats.spearmanr(predicted, measured).statistic),
        'factor_disagreement': disagreement,
        'repeat_mape': float(np.abs(first / second - 1).mean()),
        'repeat_kendall': _kendall(first, second),
        'macs_mape': float(np.abs(of_macs).mean()),
        'macs_kendall': _kendall(macs, measured),
    }
    return scale, check


def _factor(predicted: np.ndarray, measured: np.ndarray) -> float:
    """Return the geometric mean of measured / predicted."""
    return math.exp(np.log(measured / predicted).mean())


def _kendall(first: np.ndarray, second: np.ndarray) -> float:
    return float(stats.kendalltau(first, second).statistic)
