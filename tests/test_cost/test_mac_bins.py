"""Paths drawn so that their MACs are uniform over bins."""

import numpy as np
import pytest
from kit.spaces import FOUR_BLOCKS

from detnas_mm.cost import MacBins, backbone_macs
from detnas_mm.structures import SEARCH_SPACES
from detnas_mm.utils.errors import InputError

SMALL = SEARCH_SPACES['small']
ALL_PATHS = list(FOUR_BLOCKS.all_paths())
# 1x1 convolution from 640 to 1024 channels at 7x7, and 1000 classes.
HEAD = 640 * 1024 * 7 * 7 + 1024 * 1000


def test_defaults_are_the_settings_of_the_authors():
    # Seven bins, 10M wide, from 290M to 360M, the head counted.
    bins = MacBins()
    assert (bins.low, bins.width, bins.num_bins) == (290e6, 10e6, 7)
    assert bins.head_macs == HEAD
    assert bins.input_size == (224, 224)


def test_every_bin_that_has_paths_is_hit_alike():
    # Without the two rarest bins: 4 bins from 310M to 350M.
    bins = MacBins(low=310e6, num_bins=4)
    rng = np.random.default_rng(0)
    by_bins = [bins.draw(SMALL, rng) for _ in range(400)]
    uniform = SMALL.random_paths(np.random.default_rng(0), 400)
    binned, unbinned = (
        np.histogram(
            [backbone_macs(SMALL, path) + HEAD for path in paths],
            bins=310e6 + 10e6 * np.arange(5),
        )[0]
        for paths in (by_bins, uniform)
    )
    # Five standard deviations of 400 draws of probability 1/4: 43.
    assert binned.sum() == 400
    assert np.abs(binned - 100).max() < 43
    # The statistic tells the two kinds of sampling apart.
    assert np.abs(unbinned - 100).max() > 43


def test_empty_bin_is_replaced_by_a_uniform_path():
    bins = MacBins(low=1e12, num_bins=1, max_draws=20)
    rng = np.random.default_rng(0)
    paths = [bins.draw(FOUR_BLOCKS, rng) for _ in range(1000)]
    assert len(set(paths)) > 0.95 * FOUR_BLOCKS.size


def test_bins_follow_their_settings():
    macs = sorted(
        {backbone_macs(FOUR_BLOCKS, path, (32, 40)) for path in ALL_PATHS}
    )
    wanted = macs[len(macs) // 2]
    bins = MacBins(
        low=wanted + 7 - 0.4,
        width=0.8,
        num_bins=1,
        head_macs=7,
        input_size=(32, 40),
        max_draws=10_000,
    )
    for seed in range(5):
        path = bins.draw(FOUR_BLOCKS, np.random.default_rng(seed))
        assert backbone_macs(FOUR_BLOCKS, path, (32, 40)) == wanted


def test_impossible_settings_are_refused():
    for setting in ('width', 'num_bins', 'max_draws'):
        with pytest.raises(InputError, match='must be positive, got'):
            MacBins(**{setting: 0})
