"""Mutation and crossover."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.spaces import FOUR_BLOCKS, paths_of, spaces_with_path

from detnas_mm.search import crossover, mutate
from detnas_mm.structures import SEARCH_SPACES, SearchSpace

SEEDS = st.integers(0, 2**32 - 1)


def rng(seed=0):
    return np.random.default_rng(seed)


@given(spaces_with_path(), st.floats(0, 1), SEEDS)
def test_mutation_gives_a_path_and_keeps_its_argument(one, prob, seed):
    space, path = one
    child = mutate(path, space, prob, rng(seed))
    assert space.validate(child) == child
    assert mutate(path, space, prob, rng(seed)) == child


@given(spaces_with_path(), SEEDS)
def test_mutation_with_probability_0_changes_nothing(one, seed):
    space, path = one
    assert mutate(path, space, 0.0, rng(seed)) == path


@pytest.mark.parametrize('prob', [0.1, 0.5, 1.0])
def test_share_of_mutated_choices(prob):
    """A redrawn choice is another one in 3 of 4 cases."""
    space = SEARCH_SPACES['small']
    parent = space.random_path(rng(1))
    generator = rng(2)
    children = np.array(
        [mutate(parent, space, prob, generator) for _ in range(2000)]
    )
    changed = children != np.array(parent)
    expected = prob * 3 / 4
    sigma = math.sqrt(expected * (1 - expected) / 2000)
    assert np.abs(changed.mean(0) - expected).max() < 5 * sigma
    # Blocks are redrawn independently: of many changes, the variance is
    # that of a binomial distribution.
    variance = 20 * expected * (1 - expected)
    assert changed.sum(1).var() == pytest.approx(variance, rel=0.2)


def test_redrawn_choices_are_uniform():
    space = SearchSpace(4, (8,), (50,))
    generator = rng()
    drawn = np.array(
        [mutate((2,) * 50, space, 1.0, generator) for _ in range(200)]
    )
    shares = [(drawn == choice).mean() for choice in range(4)]
    assert shares == pytest.approx([0.25] * 4, abs=5 * 0.0044)


@given(paths_of(FOUR_BLOCKS), paths_of(FOUR_BLOCKS), SEEDS)
def test_crossed_choices_come_from_the_parents(first, second, seed):
    child = crossover(first, second, rng(seed))
    assert crossover(first, second, rng(seed)) == child
    assert len(child) == 4
    for choice, one, other in zip(child, first, second, strict=True):
        assert choice in (one, other)


def test_both_parents_give_half_of_the_choices():
    first, second = (0,) * 20, (1,) * 20
    generator = rng()
    children = np.array(
        [crossover(first, second, generator) for _ in range(2000)]
    )
    assert np.abs(children.mean(0) - 0.5).max() < 5 * 0.5 / math.sqrt(2000)
    assert children.sum(1).var() == pytest.approx(20 / 4, rel=0.2)
