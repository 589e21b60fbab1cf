"""The evolutionary search of the paper."""

from collections import Counter

import numpy as np
import pytest
from kit.spaces import FOUR_BLOCKS, TWO_BLOCKS, additive_fitness

from detnas_mm.search import Evolution, RandomSearch
from detnas_mm.structures import SEARCH_SPACES, Origin, SearchSpace

SMALL = SEARCH_SPACES['small']
# So many blocks that a child shows which parents it has.
LONG = SearchSpace(4, (8,), (60,))


def origins(search):
    return Counter(one.origin for one in search.propose())


def told(search, fitness=sum):
    """Tells a search one generation."""
    paths = search.ask()
    search.tell(paths, [float(fitness(path)) for path in paths])
    return search


def test_defaults_are_those_of_the_paper():
    search = Evolution(SMALL)
    assert len(search.ask()) == 50
    assert search.parents == 10
    assert search.mutation_prob == 0.1
    assert (search.num_mutation, search.num_crossover) == (25, 25)


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
def test_children_of_a_generation(settings, counts):
    search = told(Evolution(SMALL, **settings))
    expected = dict(
        zip((Origin.MUTATION, Origin.CROSSOVER, Origin.RANDOM), counts,
            strict=True)
    )  # fmt: skip
    assert origins(search) == Counter(expected)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (
            dict(parents=0),
            r'`parents` must be 1 to `population` \(50\), got 0',
        ),
        (dict(parents=51), 'got 51'),
        (dict(mutation_prob=0), '`mutation_prob` must be more than 0'),
        (dict(mutation_prob=1.1), 'at most 1, got 1.1'),
        (dict(num_random=51), 'must add up'),
        (dict(num_mutation=20, num_crossover=20), r'\(20, 20, 0\)'),
        (dict(num_mutation=-1, num_crossover=51), r'\(-1, 51, 0\)'),
        (dict(num_mutation=60), 'must add up'),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Evolution(SMALL, **settings)


def parents_of_crossed_children(history, parents):
    """Which of the told paths the next generation descends from.

    The told paths are all 0, all 1, all 2 and all 3, so that each choice of
    a crossed child names the parent it comes from.
    """
    search = Evolution(LONG, population=40, parents=parents, num_crossover=40)
    for generation in history:
        paths = [(digit,) * 60 for digit, _ in generation]
        search.tell(paths, [fitness for _, fitness in generation])
    children = search.ask()
    return {choice for child in children for choice in child}


def test_parents_are_the_fittest_of_all_history():
    # The second generation has nothing that is as fit as the first.
    history = [[(0, 0.9), (1, 0.8)], [(2, 0.1), (3, 0.2)]]
    assert parents_of_crossed_children(history, 2) == {0, 1}
    assert parents_of_crossed_children(history, 3) == {0, 1, 3}
    # And fitter ones of a later generation take their place.
    history = [[(0, 0.1), (1, 0.8)], [(2, 0.85), (3, 0.2)]]
    assert parents_of_crossed_children(history, 2) == {1, 2}


def test_any_two_parents_are_crossed():
    search = Evolution(LONG, population=60, parents=3, num_crossover=60)
    search.tell([(digit,) * 60 for digit in range(3)], [0.3, 0.2, 0.1])
    couples = Counter(frozenset(child) for child in search.ask())
    # A child of one parent twice is that parent, which is known already.
    assert set(couples) == {
        frozenset(couple) for couple in ((0, 1), (0, 2), (1, 2))
    }
    # Five standard deviations of 60 draws of probability 1/3: 18.
    assert all(2 <= count <= 38 for count in couples.values())


def test_of_equal_parents_the_earlier_count():
    history = [[(3, 0.5), (1, 0.5)], [(2, 0.5), (0, 0.5)]]
    assert parents_of_crossed_children(history, 2) == {1, 3}
    assert parents_of_crossed_children(history, 3) == {1, 2, 3}


def test_fitnesses_are_compared_unrounded():
    history = [[(0, 0.3651), (1, 0.3652)], [(2, 0.3749), (3, 0.3653)]]
    assert parents_of_crossed_children(history, 2) == {2, 3}


def test_a_failed_path_is_no_parent():
    history = [[(0, None), (1, 0.1)], [(2, None), (3, 0.2)]]
    assert parents_of_crossed_children(history, 4) == {1, 3}


def test_negative_fitness_is_better_than_a_failure():
    history = [[(0, None), (1, -5.0), (2, -4.0)]]
    assert parents_of_crossed_children(history, 2) == {1, 2}


def test_after_a_generation_of_failures_all_are_random():
    search = Evolution(SMALL, population=8, parents=2)
    search.tell(search.ask(), [None] * 8)
    assert origins(search) == {Origin.RANDOM: 8}


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


def test_a_child_that_cannot_be_gives_way_to_a_random_path():
    """All mutations and crossings of the only parents are known already."""
    search = Evolution(
        TWO_BLOCKS, population=4, parents=1, num_crossover=4, seed=0
    )
    search.tell([(0, 0), (1, 1)], [1.0, 0.0])
    # Crossing a parent with itself gives nothing new.
    proposals = search.propose()
    assert [one.origin for one in proposals] == [Origin.RANDOM] * 4
    assert len({one.path for one in proposals} | {(0, 0), (1, 1)}) == 6


def test_illegal_children_are_drawn_again():
    def is_legal(path):
        return path[0] != 3

    search = Evolution(
        FOUR_BLOCKS, population=16, parents=4, is_legal=is_legal, seed=2
    )
    for _ in range(6):
        assert all(map(is_legal, search.ask()))
        told(search, fitness=lambda path: path[0] + path[1])


@pytest.mark.parametrize('settings', [{}, dict(num_random=10)])
def test_evolution_beats_random_search(settings):
    """On a sum of worths, with 300 of 10^12 paths, and by far."""
    gains = []
    for seed in range(5):
        fitness = additive_fitness(SMALL, seed)
        searches = (
            Evolution(SMALL, seed=seed, **settings),
            RandomSearch(SMALL, seed=seed),
        )
        for search in searches:
            for _ in range(6):
                told(search, fitness)
        gains.append(searches[0].best.fitness - searches[1].best.fitness)
    # The fitness of uniform paths has a standard deviation of about 4.5,
    # the best of 300 random ones is about 3 of them above the mean.
    assert min(gains) > 1
    assert np.mean(gains) > 3
