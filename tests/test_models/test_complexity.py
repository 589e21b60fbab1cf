"""Costs counted on built blocks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.spaces import TWO_BLOCKS, spaces
from torch import nn

from detnas_mm.cost import cost_table
from detnas_mm.models import count_cost, measured_cost_table
from detnas_mm.registry import CHOICE_BLOCKS
from detnas_mm.structures import SEARCH_SPACES, Cost, SearchSpace


@settings(max_examples=5)
@given(spaces(), st.tuples(st.integers(3, 70), st.integers(1, 70)))
def test_measured_costs_equal_the_formulas(space, size):
    assert measured_cost_table(space, size) == cost_table(space, size)


def test_measured_costs_of_the_smallest_image():
    table = measured_cost_table(TWO_BLOCKS, (1, 2))
    assert table == cost_table(TWO_BLOCKS, (1, 2))


@pytest.mark.parametrize('name', ['small', 'large_3.8g'])
def test_measured_costs_of_the_named_spaces(name):
    space = SEARCH_SPACES[name]
    size = (224, 224) if name == 'small' else (97, 64)
    assert measured_cost_table(space, size) == cost_table(space, size)


def test_blocks_without_formula_can_be_measured():
    @CHOICE_BLOCKS.register_module()
    def toy_conv(in_channels, out_channels, stride, **_):
        return nn.Conv2d(
            in_channels, out_channels, 3, stride, 1, groups=4, bias=False
        )

    space = SearchSpace(4, (8,), (2,), ('toy_conv', 'shuffle_3x3'))
    try:
        table = measured_cost_table(space, (32, 32))
    finally:
        del CHOICE_BLOCKS.module_dict['toy_conv']
    # 8 x 8 outputs of 8 channels, each from 1 or 2 channels x 9 weights.
    assert table.blocks[0][0] == Cost(8 * 8 * 8 * 9, 8 * 9)
    assert table.blocks[1][0] == Cost(8 * 8 * 8 * 2 * 9, 8 * 2 * 9)
    known = cost_table(SearchSpace(4, (8,), (2,)), (32, 32))
    assert table.stem == known.stem
    assert [row[1] for row in table.blocks] == [row[0] for row in known.blocks]


def test_layers_are_counted_each_time_they_run():
    net = nn.Sequential(
        nn.Conv2d(4, 6, (3, 5), padding=(1, 2), groups=2),
        nn.BatchNorm2d(6),
        nn.Flatten(),
        nn.Linear(6 * 4 * 4, 10),
    )
    x = torch.zeros(2, 4, 4, 4)
    once = 2 * (6 * 4 * 4 * 2 * 15 + 6 * 16 * 10)
    params = 6 * 2 * 15 + 6 + 12 + 96 * 10 + 10
    assert count_cost(net, lambda: net(x)) == Cost(once, params)
    assert count_cost(net, lambda: (net(x), net(x))) == Cost(2 * once, params)


def test_counting_leaves_no_hooks_after_an_error():
    net = nn.Sequential(nn.Conv2d(3, 3, 1))
    with pytest.raises(RuntimeError):
        count_cost(net, lambda: net(torch.zeros(1, 2, 4, 4)))
    assert not net[0]._forward_hooks


def test_memory_is_not_needed():
    """On the meta device: an image of 100 million pixels costs nothing."""
    table = measured_cost_table(TWO_BLOCKS, (10_000, 10_000))
    assert table == cost_table(TWO_BLOCKS, (10_000, 10_000))
