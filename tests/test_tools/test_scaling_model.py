"""What a simulated search takes, where that can be worked out by hand."""

import runpy
from pathlib import Path

import numpy as np
import pytest

TOOL = Path(__file__).parents[2] / 'tools' / 'benchmarks' / 'scaling_model.py'


@pytest.fixture(scope='module')
def simulate():
    return runpy.run_path(str(TOOL))['simulate']


EQUAL = np.full((20, 50), 3.0)


def test_one_worker_does_all(simulate):
    rng = np.random.default_rng(0)
    durations = rng.uniform(1, 2, size=(3, 7))
    assert simulate(durations, 1) == pytest.approx(durations.sum())
    assert simulate(durations, 1, lookahead=2) == pytest.approx(
        durations.sum()
    )


@pytest.mark.parametrize(
    ('workers', 'rounds'), [(8, 7), (20, 3), (50, 1), (100, 1)]
)
def test_a_generation_takes_whole_rounds(simulate, workers, rounds):
    assert simulate(EQUAL, workers) == pytest.approx(20 * rounds * 3.0)


@pytest.mark.parametrize(('workers', 'rounds'), [(20, 50), (50, 20)])
def test_with_lookahead_nobody_waits(simulate, workers, rounds):
    assert simulate(EQUAL, workers, lookahead=1) == pytest.approx(rounds * 3.0)


def test_two_generations_at_a_time_keep_twice_as_many_busy(simulate):
    assert simulate(EQUAL, 100, lookahead=1) == pytest.approx(10 * 3.0)


def test_the_longest_candidate_ends_a_generation(simulate):
    durations = np.ones((4, 5))
    durations[:, 2] = 6.0
    assert simulate(durations, 5) == pytest.approx(4 * 6.0)


def test_the_controller_bounds_what_many_workers_give(simulate):
    assert simulate(EQUAL, 50, controller=0.5) == pytest.approx(
        20 * (3.0 + 50 * 0.5)
    )
