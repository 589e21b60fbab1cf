"""What every search algorithm must do."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.spaces import FOUR_BLOCKS, TWO_BLOCKS, additive_fitness

from detnas_mm.search import NSGA2, Evolution, NoLegalPathError, RandomSearch
from detnas_mm.structures import SEARCH_SPACES, Origin

TINY = SEARCH_SPACES['tiny']


def evolution(space, population=8, **settings):
    return Evolution(
        space,
        population=population,
        parents=min(3, population),
        mutation_prob=0.2,
        num_random=population // 4,
        **settings,
    )


def random_search(space, population=8, **settings):
    return RandomSearch(space, population=population, **settings)


def nsga2(space, population=8, **settings):
    """Low digits are cheap."""
    return NSGA2(space, population=population, costs=lambda path: [sum(path)],
                 mutation_prob=0.2, **settings)  # fmt: skip


pytestmark = pytest.mark.parametrize('make', [evolution, random_search, nsga2])


def few_xception(path):
    """A constraint that about half of all paths keep."""
    return path.count(3) <= len(path) // 4


def run(search, fitness, generations):
    """Asks and tells; returns what was asked, by generation."""
    asked = []
    for _ in range(generations):
        paths = search.ask()
        search.tell(paths, [fitness(path) for path in paths])
        asked.append(paths)
    return asked


def sometimes_failed(fitness):
    return lambda path: None if sum(path) % 5 == 0 else fitness(path)


def test_all_paths_are_legal_and_none_comes_twice(make):
    search = make(TINY, is_legal=few_xception, seed=3)
    fitness = sometimes_failed(additive_fitness(TINY, 0))
    asked = run(search, fitness, generations=40)
    assert all(len(paths) == 8 for paths in asked)
    flat = [path for paths in asked for path in paths]
    assert len(set(flat)) == len(flat) == 320
    for path in flat:
        assert TINY.validate(path) == path
        assert few_xception(path)


def test_none_comes_twice_down_to_the_last_path(make):
    """32 generations of 8 are all 256 paths of the space."""
    asked = run(make(FOUR_BLOCKS, seed=1), lambda path: sum(path), 32)
    flat = {path for paths in asked for path in paths}
    assert flat == set(FOUR_BLOCKS.all_paths())


def test_the_seed_decides(make):
    fitness = additive_fitness(TINY, 0)
    first = run(make(TINY, seed=5), fitness, 6)
    assert run(make(TINY, seed=5), fitness, 6) == first
    assert run(make(TINY, seed=6), fitness, 6) != first
    assert run(make(TINY, seed=6), fitness, 1) != first[:1]


def test_global_random_state_does_not_matter(make):
    np.random.seed(1)
    first = make(TINY, seed=5).ask()
    np.random.seed(2)
    state = np.random.get_state()[1].tolist()
    assert make(TINY, seed=5).ask() == first
    assert np.random.get_state()[1].tolist() == state


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), stop=st.integers(0, 5))
def test_to_resume_is_to_tell_again(make, seed, stop):
    fitness = sometimes_failed(additive_fitness(TINY, seed))
    whole = make(TINY, is_legal=few_xception, seed=seed)
    asked = run(whole, fitness, 6)
    resumed = make(TINY, is_legal=few_xception, seed=seed)
    for paths in asked[:stop]:
        resumed.tell(paths, [fitness(path) for path in paths])
    assert run(resumed, fitness, 6 - stop) == asked[stop:]
    assert resumed.best == whole.best


def test_asked_twice_it_says_the_same(make):
    search = make(TINY, seed=2)
    for _ in range(3):
        paths = search.ask()
        assert search.ask() == paths
        assert [one.path for one in search.propose()] == paths
        search.tell(paths, [sum(path) for path in paths])


def test_paths_told_from_elsewhere_are_not_asked(make):
    search = make(TWO_BLOCKS, population=4, seed=0)
    told = list(TWO_BLOCKS.all_paths())[:12]
    search.tell(told, [1.0] * 6 + [None] * 6)
    assert set(search.ask()) == set(TWO_BLOCKS.all_paths()) - set(told)


@pytest.mark.parametrize('lookahead', [1, 2])
def test_a_generation_may_be_asked_before_the_last_has_ended(make, lookahead):
    """What is asked depends on what was told before, not on what is told
    meanwhile; and nothing comes twice."""
    fitness = additive_fitness(TINY, 0)

    def run_ahead():
        search = make(TINY, is_legal=few_xception, seed=4)
        pending, asked = [], []
        for _ in range(12):
            pending.append(search.ask(pending))
            asked.append(pending[-1])
            if len(pending) > lookahead:
                done = pending.pop(0)
                search.tell(done, [fitness(path) for path in done])
        return asked

    asked = run_ahead()
    assert run_ahead() == asked
    flat = [path for paths in asked for path in paths]
    assert len(set(flat)) == len(flat) == 96
    assert all(map(few_xception, flat))
    # Only the first generation is that of a search that waits.
    waiting = run(make(TINY, is_legal=few_xception, seed=4), fitness, 12)
    assert asked[0] == waiting[0]


def test_first_generation_is_random(make):
    search = make(TINY, seed=0)
    assert {one.origin for one in search.propose()} == {Origin.RANDOM}


def test_best_is_the_fittest_and_the_earlier_of_equals(make):
    search = make(TWO_BLOCKS, population=3, seed=0)
    assert search.best is None
    search.tell([(0, 0), (0, 1), (0, 2)], [None, 0.3651, 0.3649])
    assert search.best == ((0, 1), 0.3651)
    search.tell([(1, 0), (1, 1), (1, 2)], [0.3651, 0.3749, 0.3749])
    assert search.best == ((1, 1), 0.3749)
    search.tell([(2, 0)], [0.3749])
    assert search.best.path == (1, 1)


def test_nothing_is_best_where_all_failed(make):
    search = make(TWO_BLOCKS, population=3, seed=0)
    paths = search.ask()
    search.tell(paths, [None] * 3)
    assert search.best is None
    assert not set(search.ask()) & set(paths)


@pytest.mark.parametrize('fitness', [math.nan, math.inf, -math.inf])
def test_fitness_that_is_no_number_is_refused(make, fitness):
    search = make(TWO_BLOCKS, population=2, seed=0)
    with pytest.raises(ValueError, match=r'`fitnesses`.*for 12'):
        search.tell([(0, 0), (1, 2)], [1.0, fitness])
    # And nothing of that generation was taken.
    assert search.best is None
    fresh = make(TWO_BLOCKS, population=2, seed=0)
    assert search.ask() == fresh.ask()


def test_what_was_told_must_fit(make):
    search = make(TWO_BLOCKS, population=2, seed=0)
    with pytest.raises(ValueError, match='2 `paths` need .* got 1'):
        search.tell([(0, 0), (1, 2)], [1.0])
    with pytest.raises(ValueError, match="'12'|2 digits"):
        search.tell([(0, 0, 0)], [1.0])
    assert search.ask() == make(TWO_BLOCKS, population=2, seed=0).ask()


def test_the_end_of_a_space_is_said(make):
    search = make(TWO_BLOCKS, population=6, seed=0)
    run(search, lambda path: sum(path), 2)
    start = time.monotonic()
    # 4 of the 16 paths are left, 6 are asked for.
    with pytest.raises(NoLegalPathError, match='space of 16; widen'):
        search.ask()
    assert time.monotonic() - start < 2


def test_a_constraint_that_nothing_keeps_is_said(make):
    search = make(FOUR_BLOCKS, is_legal=lambda path: False, seed=0)
    start = time.monotonic()
    with pytest.raises(NoLegalPathError, match='0 paths of a space of 256'):
        search.ask()
    assert time.monotonic() - start < 2


def test_the_few_legal_paths_are_all_found(make):
    legal = {(0, 1, 2, 3), (3, 2, 1, 0), (1, 1, 1, 1), (2, 0, 2, 0)}
    search = make(
        FOUR_BLOCKS, population=2, is_legal=legal.__contains__, seed=0
    )
    asked = run(search, lambda path: sum(path), 2)
    assert {path for paths in asked for path in paths} == legal
    with pytest.raises(NoLegalPathError):
        search.ask()


@pytest.mark.parametrize(
    ('wrong', 'told'),
    [
        (dict(population=0), '`population` must be at least 1, got 0'),
        (dict(seed=-1), '`seed` must be at least 0, got -1'),
    ],
)
def test_impossible_settings_are_refused(make, wrong, told):
    with pytest.raises(ValueError, match=told):
        make(TWO_BLOCKS, **wrong)
