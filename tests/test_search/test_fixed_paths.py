"""Paths that the user gives."""

import pytest
from kit.spaces import TWO_BLOCKS

from detnas_mm.search import GivenPaths
from detnas_mm.structures import Origin


def test_asks_for_the_paths_in_their_order():
    algorithm = GivenPaths(TWO_BLOCKS, paths=['21', (0, 3), '00'])
    assert algorithm.ask() == [(2, 1), (0, 3), (0, 0)]
    assert {one.origin for one in algorithm.propose()} == {Origin.GIVEN}
    algorithm.tell(algorithm.ask(), [1.0, None, 0.5])
    assert algorithm.ask() == [(2, 1), (0, 3), (0, 0)]


@pytest.mark.parametrize('paths', [[], ['21', '21'], ['21', (2, 1)]])
def test_needs_different_paths(paths):
    with pytest.raises(ValueError, match='different paths'):
        GivenPaths(TWO_BLOCKS, paths=paths)


def test_a_path_of_another_space_is_named():
    with pytest.raises(ValueError, match="'217'"):
        GivenPaths(TWO_BLOCKS, paths=['00', '217'])
