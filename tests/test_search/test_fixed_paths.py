"""Evaluation of listed paths."""

import pytest
from kit.spaces import TWO_BLOCKS

from detnas_mm.search import FixedPaths
from detnas_mm.structures import Origin


def test_proposes_the_listed_paths_in_their_order():
    algorithm = FixedPaths(TWO_BLOCKS, paths=['21', (0, 3), '00'])
    assert algorithm.population == 3
    assert algorithm.ask() == [(2, 1), (0, 3), (0, 0)]
    assert {item.origin for item in algorithm.propose()} == {Origin.FIXED}
    algorithm.tell(algorithm.ask(), [1.0, None, 0.5])
    assert algorithm.ask() == [(2, 1), (0, 3), (0, 0)]


def test_wrong_lists_are_refused():
    for paths, message in (
        ([], 'different paths'),
        (['21', (2, 1)], 'different paths'),
        (['00', '217'], "'217'"),
    ):
        with pytest.raises(ValueError, match=message):
            FixedPaths(TWO_BLOCKS, paths=paths)
