"""Which paths of a search are trained."""

import numpy as np
from hypothesis import given
from kit.records import candidate
from kit.spaces import ELASTIC, FOUR_BLOCKS, spaces

from detnas_mm.cost import cost_table
from detnas_mm.search import even_path, pick_finalists, random_path_near
from detnas_mm.structures import SEARCH_SPACES


def test_the_fittest_that_differ_are_picked():
    scores = {'0000': 0.5, '0001': 0.49, '0011': 0.4, '2222': 0.3}
    candidates = [
        candidate(index, path=path, fitness=fitness)
        for index, (path, fitness) in enumerate(scores.items())
    ]
    for distance, expected in (
        (1, ['0000', '0001']),
        (2, ['0000', '0011']),
        (3, ['0000', '2222']),
        (5, ['0000']),
    ):
        picked = pick_finalists(candidates, FOUR_BLOCKS, 2, distance)
        assert list(map(FOUR_BLOCKS.format, picked)) == expected


def test_even_nets_have_equal_stages():
    small = SEARCH_SPACES['small']
    macs = cost_table(small).macs
    assert even_path(small, macs, macs((0,) * 20)) == (0,) * 20
    # Stages of three and four blocks: wide, 5x5, the rest is skipped.
    space = SEARCH_SPACES['elastic_tiny']
    macs = cost_table(space).macs
    path = space.parse('213 213 2133 213')
    assert even_path(space, macs, macs(path)) == path


@given(spaces())
def test_reference_nets_belong_to_the_space(space):
    macs = cost_table(space, (32, 32)).macs
    rng = np.random.default_rng(0)
    target = macs(space.random_path(rng))
    for path in (
        even_path(space, macs, target),
        random_path_near(space, macs, target, rng),
    ):
        assert space.validate(path) == path


def test_random_net_has_the_cost():
    macs = cost_table(ELASTIC, (32, 32)).macs
    targets = {macs(path) for path in ELASTIC.all_paths()}
    rng = np.random.default_rng(0)
    for target in targets:
        path = random_path_near(ELASTIC, macs, target, rng)
        assert abs(macs(path) / target - 1) <= 0.02
