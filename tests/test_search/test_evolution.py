"""The evolutionary search of the paper."""

from collections import Counter

import numpy as np
import pytest
from kit.spaces import TWO_BLOCKS, additive_fitness

from detnas_mm.search import Evolution, RandomSearch
from detnas_mm.structures import SEARCH_SPACES, Origin, SearchSpace

SMALL = SEARCH_SPACES['small']
# Long enough for a child to show which parents it has.
LONG = SearchSpace(4, (8,), (60,))


def count_origins(search):
    return Counter(proposal.origin for proposal in search.propose())


def run_generation(search, fitness=sum):
    paths = search.ask()
    search.tell(paths, [float(fitness(path)) for path in paths])
    return search


@pytest.mark.parametrize(
    ('settings', 'counts'),
    [
        # The paper: half and half. The authors' code: 20, 20 and 10.
        ({}, (25, 25, 0)),
        (dict(num_mutation=20, num_crossover=20, num_random=10), (20, 20, 10)),
        (dict(num_random=10), (20, 20, 10)),
        (dict(population=5, parents=3), (3, 2, 0)),
        (dict(num_mutation=50), (50, 0, 0)),
        (dict(num_crossover=15), (35, 15, 0)),
        (dict(num_mutation=10, num_random=5), (10, 35, 5)),
        (dict(num_random=50), (0, 0, 50)),
    ],
)
def test_origins_of_a_generation(settings, counts):
    search = run_generation(Evolution(SMALL, **settings))
    origins = (Origin.MUTATION, Origin.CROSSOVER, Origin.RANDOM)
    expected = Counter(dict(zip(origins, counts, strict=True)))
    assert count_origins(search) == expected


def test_settings_out_of_range_are_refused():
    for settings, message in (
        (dict(parents=0), r'`parents` must be 1 to `population` \(50\)'),
        (dict(parents=51), 'got 51'),
        (dict(mutation_prob=0), '`mutation_prob` must be more than 0'),
        (dict(mutation_prob=1.1), 'at most 1, got 1.1'),
        (dict(num_random=51), 'must add up'),
        (dict(num_mutation=20, num_crossover=20), r'\(20, 20, 0\)'),
        (dict(num_mutation=-1, num_crossover=51), r'\(-1, 51, 0\)'),
    ):
        with pytest.raises(ValueError, match=message):
            Evolution(SMALL, **settings)


@pytest.mark.parametrize(
    ('generations', 'num_parents', 'expected'),
    [
        # The fittest of all generations, not of the last one.
        ([[(0, 0.9), (1, 0.8)], [(2, 0.1), (3, 0.2)]], 2, {0, 1}),
        ([[(0, 0.9), (1, 0.8)], [(2, 0.1), (3, 0.2)]], 3, {0, 1, 3}),
        ([[(0, 0.1), (1, 0.8)], [(2, 0.85), (3, 0.2)]], 2, {1, 2}),
        # The earlier of equals.
        ([[(3, 0.5), (1, 0.5)], [(2, 0.5), (0, 0.5)]], 2, {1, 3}),
        ([[(3, 0.5), (1, 0.5)], [(2, 0.5), (0, 0.5)]], 3, {1, 2, 3}),
        # Unrounded: all are 0.37 in two decimals.
        ([[(0, 0.3651), (1, 0.3652)], [(2, 0.3749), (3, 0.3653)]], 2, {2, 3}),
        # A failed path is no parent, and a negative fitness no failure.
        ([[(0, None), (1, 0.1)], [(2, None), (3, 0.2)]], 4, {1, 3}),
        ([[(0, None), (1, -5.0), (2, -4.0)]], 2, {1, 2}),
    ],
)
def test_parents_are_the_fittest(generations, num_parents, expected):
    """Paths of one digit: each choice of a child names its parent."""
    search = Evolution(
        LONG, population=40, parents=num_parents, num_crossover=40
    )
    for generation in generations:
        paths = [(digit,) * 60 for digit, _ in generation]
        search.tell(paths, [fitness for _, fitness in generation])
    assert {choice for child in search.ask() for choice in child} == expected


def test_after_a_generation_of_failures_all_are_random():
    search = Evolution(SMALL, population=8, parents=2)
    search.tell(search.ask(), [None] * 8)
    assert count_origins(search) == {Origin.RANDOM: 8}


def test_mutated_children_are_near_a_parent():
    search = Evolution(
        LONG, population=200, parents=2, num_mutation=200, mutation_prob=0.1
    )
    search.tell([(0,) * 60, (1,) * 60, (2,) * 60], [2.0, 1.0, 0.0])
    children = np.array(search.ask())
    changed = np.minimum(
        (children != 0).mean(1), (children != 1).mean(1)
    ).mean()
    # 0.1 x 3/4 of the choices; 5 sigma of 12,000 Bernoulli draws.
    assert changed == pytest.approx(0.075, abs=5 * 0.0024)
    # Both parents have children.
    of_first = ((children == 0).mean(1) > 0.5).mean()
    assert of_first == pytest.approx(0.5, abs=5 * 0.035)


def test_a_random_path_replaces_an_impossible_child():
    """Crossing the only parent with itself makes nothing new."""
    search = Evolution(
        TWO_BLOCKS, population=4, parents=1, num_crossover=4, seed=0
    )
    search.tell([(0, 0), (1, 1)], [1.0, 0.0])
    proposals = search.propose()
    assert [item.origin for item in proposals] == [Origin.RANDOM] * 4
    assert len({item.path for item in proposals} | {(0, 0), (1, 1)}) == 6


def test_evolution_beats_random_search():
    """By far on an additive fitness, with 300 of 10^12 paths."""
    gains = []
    for seed in range(5):
        fitness = additive_fitness(SMALL, seed)
        searches = (
            Evolution(SMALL, seed=seed),
            RandomSearch(SMALL, seed=seed),
        )
        for search in searches:
            for _ in range(6):
                run_generation(search, fitness)
        gains.append(searches[0].best.fitness - searches[1].best.fitness)
    # The fitness of random paths has a standard deviation of about 4.5; the
    # best of 300 is about 3 standard deviations above the mean.
    assert min(gains) > 1
    assert np.mean(gains) > 3
