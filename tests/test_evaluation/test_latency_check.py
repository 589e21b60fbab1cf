"""What is said about a table that predicts well, badly, or like MACs."""

import numpy as np
import pytest
from kit.latencies import random_latencies
from kit.spaces import FOUR_BLOCKS

from detnas_mm.evaluation.latency_check import check_predictions

UNEVEN = np.arange(20) >= 10


def verdict(check):
    return random_latencies(FOUR_BLOCKS, check=check).verdict


def networks(noise=0.0, seed=0, rounds=30):
    """Latencies that MACs explain in part, and rounds of measuring them."""
    rng = np.random.default_rng(seed)
    macs = rng.uniform(1, 2, 20)
    latency = macs * rng.uniform(0.7, 1.3, 20)
    delays = 1 + rng.exponential(0.2, (rounds, 20))
    return macs, latency, latency * delays * (1 + noise * rng.random(20))


def test_one_factor_makes_sums_of_blocks_whole_networks():
    macs, latency, _ = networks()
    rounds = np.tile(latency, (4, 1))
    scale, check = check_predictions(latency * 0.8, rounds, macs, UNEVEN)
    assert scale == pytest.approx(1.25)
    assert check['mape'] == pytest.approx(0)
    assert check['kendall'] == check['repeat_kendall'] == 1
    assert check['macs_kendall'] < 0.9
    assert check['macs_mape'] > 0.05
    assert verdict(check) == ''


def test_no_factor_is_kept_where_two_would_be_needed():
    macs, latency, _ = networks()
    rounds = np.tile(latency, (4, 1))
    off = np.where(UNEVEN, 0.8, 0.84)
    scale, check = check_predictions(latency * off, rounds, macs, UNEVEN)
    assert scale == 1
    assert check['factor_disagreement'] == pytest.approx(0.84 / 0.8 - 1)
    assert check['bias'] == pytest.approx(-0.18)
    assert verdict(check) == 'bad table: its error is 18%'


def test_the_minimum_of_the_rounds_counts():
    macs, latency, rounds = networks()
    _, check = check_predictions(latency, rounds, macs, UNEVEN)
    assert check['kendall'] > 0.9
    assert check['mape'] < 0.02
    assert check['repeat_mape'] < 0.05


def test_a_table_that_ranks_no_better_than_macs():
    macs, _, _ = networks()
    rounds = np.tile(macs, (4, 1))
    near = macs * np.random.default_rng(1).uniform(0.97, 1.03, 20)
    _, check = check_predictions(near, rounds, macs, UNEVEN)
    assert verdict(check) == 'use MACs, this table ranks no better'


def test_a_table_that_does_not_rank():
    macs, latency, _ = networks()
    latency = 1 + latency / 100
    rounds = np.tile(latency, (4, 1))
    shuffled = np.random.default_rng(1).permutation(latency)
    _, check = check_predictions(shuffled, rounds, macs, UNEVEN)
    assert check['mape'] < 0.02
    assert verdict(check).startswith("bad table: its Kendall's tau is")


def test_tables_of_earlier_versions_are_judged_by_their_error():
    assert verdict({}) == verdict({'mape': 0.09, 'kendall': 0.1}) == ''
    assert verdict({'mape': 0.4}) == 'bad table: its error is 40%'
