"""Evolution with a model of the scores."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.spaces import FOUR_BLOCKS, additive_fitness, paths_of, spaces

import detnas_mm
from detnas_mm.search import Evolution, SurrogateEvolution
from detnas_mm.search.score_model import NoModelError, ScoreModel
from detnas_mm.structures import SEARCH_SPACES, Origin, pareto_ranks

SMALL = SEARCH_SPACES['small']
TINY = SEARCH_SPACES['tiny']


def drawn(space, count, seed=0):
    return list(
        dict.fromkeys(space.random_paths(np.random.default_rng(seed), count))
    )


@settings(max_examples=6, deadline=None)
@given(data=st.data(), seed=st.integers(0, 99))
def test_the_record_alone_decides_what_is_asked(data, seed):
    """In any space, after any results: legal, new, and the same again."""
    space = data.draw(spaces(max_blocks=2))
    told = data.draw(
        st.dictionaries(
            paths_of(space),
            st.one_of(st.none(), st.integers(0, 3).map(float)),
            max_size=12,
        )
    )

    def is_legal(path):
        return sum(path) % 3 != 1

    left = sum(is_legal(p) and p not in told for p in space.all_paths())
    if left < 4:
        return
    asked = []
    for order in (list(told), list(told)):
        search = SurrogateEvolution(
            space, population=4, parents=2, is_legal=is_legal, seed=seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            search.tell(order, [told[path] for path in order])
            asked.append(search.propose())
            np.random.seed(seed)
            assert search.propose() == asked[-1]
    first, second = asked
    assert first == second
    paths = [proposal.path for proposal in first]
    assert len(set(paths)) == 4
    assert not set(paths) & set(told)
    assert all(map(is_legal, paths))


def test_fewer_evaluations_than_evolution():
    """On sums of effects, which a model finds from few of them."""
    for seed in range(2):
        fitness = additive_fitness(SMALL, seed)
        best = []
        for cls in (Evolution, SurrogateEvolution):
            search = cls(SMALL, population=20, seed=seed)
            # Evolution has three times as many.
            for _ in range(15 if cls is Evolution else 5):
                paths = search.ask()
                search.tell(paths, [fitness(path) for path in paths])
            best.append(search.best.fitness)
        assert best[1] > best[0]


def test_a_tenth_is_random_and_all_is_predicted():
    search = SurrogateEvolution(TINY, population=20, seed=0)
    fitness = additive_fitness(TINY, 0)
    first = search.propose()
    assert {p.predicted for p in first} == {None}
    paths = [p.path for p in first]
    search.tell(paths, [fitness(path) for path in paths])
    second = search.propose()
    origins = [p.origin for p in second]
    assert origins[-2:] == [Origin.RANDOM] * 2
    assert {Origin.MUTATION, Origin.CROSSOVER} & set(origins)
    errors = [abs(p.predicted - fitness(p.path)) for p in second]
    limits = [2 * p.predicted_std for p in second]
    assert np.mean(np.array(errors) < limits) >= 0.7


@pytest.mark.parametrize('fitness', [[0.5], [0.5, 0.5, 0.5]])
def test_scores_without_a_model_give_plain_evolution_and_one_line(fitness):
    paths = drawn(TINY, len(fitness))
    plain = Evolution(TINY, population=5, parents=2, num_random=0, seed=3)
    search = SurrogateEvolution(TINY, population=5, parents=2, seed=3)
    for algorithm in (plain, search):
        algorithm.tell(paths, fitness)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('default')
        asked = [search.ask(), search.ask()]
    assert asked == [plain.ask()] * 2
    assert len(caught) == 1
    assert 'plain evolution' in str(caught[0].message)


def test_scores_outside_of_the_bounds_teach_and_are_never_the_best():
    fitness = additive_fitness(TINY, 1)

    def is_legal(path):
        return path.count(3) <= 2

    told = [p for p in drawn(TINY, 200) if not is_legal(p)]
    search = SurrogateEvolution(
        TINY, population=10, parents=5, is_legal=is_legal, seed=0
    )
    search.tell(told, [fitness(path) for path in told])
    assert search.best is None
    asked = search.ask()
    assert all(map(is_legal, asked))
    random = [p for p in drawn(TINY, 400, seed=1) if is_legal(p)]
    # The model knows the worth of the choices from them.
    reached = np.sort([fitness(path) for path in asked])[-5:]
    assert reached.min() > np.quantile([fitness(p) for p in random], 0.9)


def test_children_of_several_objectives_reach_the_front():
    """More of the front than evolution of the same budget by NSGA-II."""
    first, second = (additive_fitness(TINY, seed) for seed in (0, 1))

    def costs(path):
        return [float(sum(path))]

    search = SurrogateEvolution(
        TINY, population=20, parents=10, seed=0, costs=costs
    )
    told = []
    for _ in range(4):
        paths = search.ask()
        told += paths
        search.tell(paths, [(first(p), second(p)) for p in paths])
    random = drawn(TINY, 80, seed=5)
    points = [(first(p), second(p), -sum(p)) for p in told + random]
    on_front = pareto_ranks(np.array(points)) == 0
    assert on_front[: len(told)].sum() > 2 * on_front[len(told) :].sum()


def test_model_predicts_sums_and_says_what_it_does_not_know():
    fitness = additive_fitness(FOUR_BLOCKS, 0)
    paths = drawn(FOUR_BLOCKS, 400)[:120]
    model = ScoreModel(FOUR_BLOCKS, paths, [fitness(p) for p in paths])
    rest = sorted(set(FOUR_BLOCKS.all_paths()) - set(paths))
    mean, std = model.predict(rest)
    truth = np.array([fitness(path) for path in rest])
    assert np.corrcoef(mean, truth)[0, 1] > 0.98
    assert (std > 0).all()
    assert 0.3 < np.abs(mean - truth).mean() / std.mean() < 2
    with pytest.raises(NoModelError, match='2 evaluated paths have 1'):
        ScoreModel(FOUR_BLOCKS, paths[:2], [1.0, 1.0])


def test_effects_are_those_of_the_truth_within_their_deviation():
    fitness = additive_fitness(TINY, 2)
    paths = drawn(TINY, 60)
    model = ScoreModel(TINY, paths, [fitness(path) for path in paths])
    at = paths[0]
    errors, truths = [], []
    for block, effects in enumerate(model.effects(paths[:10])):
        # A sum of effects has the same ones in any path.
        truth = np.array(
            [
                fitness((*at[:block], choice, *at[block + 1 :]))
                for choice in TINY.allowed_choices[block]
            ]
        )
        truths.append(truth - truth.mean())
        errors.append((effects[:, 0] - truths[-1]) / effects[:, 1])
    estimates = np.concatenate(model.effects(paths[:10]))[:, 0]
    assert np.corrcoef(estimates, np.concatenate(truths))[0, 1] > 0.95
    assert 0.3 < np.sqrt(np.mean(np.square(errors))) < 2


def test_gain_is_what_the_next_generation_brings_on_average():
    expected, brought = [], []
    for seed in range(4):
        fitness = additive_fitness(TINY, seed)
        search = SurrogateEvolution(TINY, population=10, seed=seed)
        for _ in range(4):
            before, summary = search.best, search.summarize()
            asked = search.ask()
            search.tell(asked, [fitness(path) for path in asked])
            if before is None:
                assert summary is None
            else:
                expected.append(summary.gain)
                brought.append(search.best.fitness - before.fitness)
    assert 0.5 < np.mean(brought) / np.mean(expected) < 2
    # It falls as the search goes on.
    assert np.mean(expected[::3]) > np.mean(expected[2::3])


def test_where_no_generation_is_left_nothing_is_gained():
    paths = list(FOUR_BLOCKS.all_paths())
    fitness = additive_fitness(FOUR_BLOCKS, 0)
    search = SurrogateEvolution(FOUR_BLOCKS, population=4, parents=2)
    search.tell(paths[:-3], [fitness(path) for path in paths[:-3]])
    assert search.summarize().gain == 0


def test_a_batch_is_spread():
    """More than the paths of the highest bounds, each for itself."""
    fitness = additive_fitness(TINY, 0)
    paths = drawn(TINY, 12)
    model = ScoreModel(TINY, paths, [fitness(path) for path in paths])
    pool = drawn(TINY, 1000, seed=1)
    highest = np.argsort(-model.upper_bounds(pool), kind='stable').tolist()
    chosen = model.choose(pool, 20)
    assert len(set(chosen)) == 20
    assert chosen[0] == highest[0]

    def spread(indices):
        digits = np.array([pool[index] for index in indices])
        return (digits[:, None] != digits[None]).mean()

    assert spread(chosen) > spread(highest[:20])


def test_it_has_the_settings_of_evolution():
    search = detnas_mm.SurrogateEvolution(
        TINY,
        population=6,
        parents=3,
        mutation_prob=0.2,
        num_mutation=2,
        num_crossover=2,
        num_random=2,
        is_legal=lambda path: True,
        concentration=0.4,
        seed=1,
    )
    assert len(search.ask()) == 6
    with pytest.raises(ValueError, match='`parents` must be 1 to'):
        SurrogateEvolution(TINY, population=6, parents=7)
