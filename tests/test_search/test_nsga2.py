"""Search for a Pareto front."""

import numpy as np
import pytest
from kit.spaces import FOUR_BLOCKS, additive_fitness

from detnas_mm.search import NSGA2, RandomSearch
from detnas_mm.search.nsga2 import crowding_distances, tournament
from detnas_mm.structures import SEARCH_SPACES, Origin, pareto_ranks

TINY = SEARCH_SPACES['tiny']


def cost(path):
    return [sum(path)]


def run(search, fitness, generations):
    """Fitness and negative cost of all paths that a search asks for."""
    points = []
    for _ in range(generations):
        paths = search.ask()
        scores = [fitness(path) for path in paths]
        search.tell(paths, scores)
        points += [
            (score, -cost(path)[0])
            for path, score in zip(paths, scores, strict=True)
        ]
    return np.array(points)


def hypervolume(points, corner):
    """Area that a front dominates, above a corner."""
    front = points[pareto_ranks(points) == 0] - corner
    front = front[np.argsort(-front[:, 1], kind='stable')]
    area = top = 0.0
    for score, cheapness in front:
        area += max(score - top, 0) * cheapness
        top = max(score, top)
    return area


@pytest.mark.parametrize('seed', range(2))
def test_front_dominates_more_than_that_of_random_paths(seed):
    def fitness(path):
        # Larger digits score higher and cost more: a real trade-off.
        return additive_fitness(TINY, seed)(path) + 0.3 * sum(path)

    settings = dict(population=20, seed=seed)
    found = run(NSGA2(TINY, costs=cost, **settings), fitness, 15)
    random = run(RandomSearch(TINY, **settings), fitness, 15)
    corner = np.minimum(found, random).min(axis=0)
    assert hypervolume(found, corner) > 1.1 * hypervolume(random, corner)
    # Not only the fittest or the cheapest.
    assert (pareto_ranks(found) == 0).sum() > 5


def test_crowding_distance_is_the_gap_between_the_neighbors():
    values = np.array([[0.0, 8.0], [1.0, 4.0], [3.0, 1.0], [4.0, 0.0]])
    expected = [np.inf, 3 / 4 + 7 / 8, 3 / 4 + 4 / 8, np.inf]
    assert crowding_distances(values).tolist() == expected
    shuffled = [2, 0, 3, 1]
    assert crowding_distances(values[shuffled]).tolist() == [
        expected[index] for index in shuffled
    ]
    # Equal points, and a single one.
    assert crowding_distances(np.ones((3, 2)))[1] == 0
    assert crowding_distances(np.ones((1, 2))).tolist() == [np.inf]


def test_the_better_of_two_wins_a_tournament():
    rng = np.random.default_rng(0)
    wins = np.bincount(
        [tournament([(0,), (1,), (2,)], rng)[0] for _ in range(9000)]
    )
    # 5, 3 and 1 of the 9 pairs.
    assert wins == pytest.approx([5000, 3000, 1000], rel=0.1)


def test_further_scores_are_objectives_like_costs():
    """The same search, with cheapness as a cost or as a score."""
    settings = dict(population=8, seed=1)
    by_cost = NSGA2(TINY, costs=cost, **settings)
    by_score = NSGA2(TINY, costs=lambda path: [], **settings)
    fitness = additive_fitness(TINY, 0)
    for _ in range(4):
        paths = by_cost.ask()
        assert by_score.ask() == paths
        by_cost.tell(paths, [fitness(path) for path in paths])
        by_score.tell(
            paths, [(fitness(path), -cost(path)[0]) for path in paths]
        )
    assert by_score.best == by_cost.best


def test_further_scores_must_be_finite():
    search = NSGA2(FOUR_BLOCKS, costs=cost, population=1)
    with pytest.raises(ValueError, match='must be finite.*nan'):
        search.tell([(0, 0, 0, 0)], [(1.0, np.nan)])
    assert search.best is None


def test_parents_are_the_first_fronts():
    """The third path is dominated by the first, and the last one failed."""
    search = NSGA2(FOUR_BLOCKS, costs=cost, population=2, mutation_prob=1e-9)
    search.tell([(0, 0, 0, 0), (3, 3, 3, 3)], [1.0, 2.0])
    search.tell([(1, 1, 1, 1), (0, 0, 0, 1)], [0.5, None])
    proposals = search.propose()
    assert {item.origin for item in proposals} == {Origin.CROSSOVER}
    assert {choice for item in proposals for choice in item.path} == {0, 3}
    assert search.best.path == (3, 3, 3, 3)
