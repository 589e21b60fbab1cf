"""Mutation and crossover."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.spaces import ELASTIC, paths_of, spaces_with_path

from detnas_mm.search import crossover, mutate
from detnas_mm.search.operators import mutate_stage
from detnas_mm.structures import SEARCH_SPACES

SEEDS = st.integers(0, 2**32 - 1)


def rng(seed=0):
    return np.random.default_rng(seed)


@given(spaces_with_path(), st.floats(0, 1), SEEDS)
def test_mutation_gives_a_path_that_the_seed_decides(example, prob, seed):
    space, path = example
    child = mutate(path, space, prob, rng(seed))
    assert space.validate(child) == child
    assert mutate(path, space, prob, rng(seed)) == child
    assert mutate(path, space, 0.0, rng(seed)) == path


@pytest.mark.parametrize('prob', [0.1, 0.5, 1.0])
def test_share_of_mutated_choices(prob):
    """3 of 4 redrawn choices are different, all with the same frequency."""
    space = SEARCH_SPACES['small']
    generator = rng(2)
    children = np.array(
        [mutate((2,) * 20, space, prob, generator) for _ in range(2000)]
    )
    expected = prob / 4
    sigma = math.sqrt(expected * (1 - expected) / 2000)
    for choice in (0, 1, 3):
        share = (children == choice).mean(0)
        assert np.abs(share - expected).max() < 5 * sigma
    # Blocks are redrawn independently: the number of changes is binomial.
    changed = children != 2
    variance = 20 * 3 * expected * (1 - 3 * expected)
    assert changed.sum(1).var() == pytest.approx(variance, rel=0.2)


@given(paths_of(ELASTIC), SEEDS)
def test_a_mutated_stage_leaves_the_others(path, seed):
    child = mutate_stage(path, ELASTIC, 0.4, rng(seed))
    assert ELASTIC.validate(child) == child
    assert child[:2] == path[:2] or child[2:] == path[2:]


@given(paths_of(ELASTIC), paths_of(ELASTIC), SEEDS)
def test_crossed_choices_come_from_the_parents(first, second, seed):
    child = crossover(first, second, rng(seed))
    assert crossover(first, second, rng(seed)) == child
    assert ELASTIC.validate(child) == child
    for choice, *parents in zip(child, first, second, strict=True):
        assert choice in parents


def test_both_parents_give_half_of_the_choices():
    first, second = (0,) * 20, (1,) * 20
    generator = rng()
    children = np.array(
        [crossover(first, second, generator) for _ in range(2000)]
    )
    assert np.abs(children.mean(0) - 0.5).max() < 5 * 0.5 / math.sqrt(2000)
    assert children.sum(1).var() == pytest.approx(20 / 4, rel=0.2)
