"""Costs counted on built blocks."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kit.counting import count_macs, count_params
from kit.detectors import DETECTORS, build_detector, detection_batch
from kit.models import changed_keys, copies
from kit.spaces import TWO_BLOCKS, spaces
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from detnas_mm.cost import cost_table
from detnas_mm.models import (
    count_cost,
    count_rest_of_detector,
    exact_cost_table,
    measured_cost_table,
)
from detnas_mm.registry import CHOICE_BLOCKS
from detnas_mm.structures import SEARCH_SPACES, Cost, SearchSpace


@settings(max_examples=5)
@given(spaces(), st.tuples(st.integers(3, 70), st.integers(1, 70)))
@example(TWO_BLOCKS, (1, 2))
# Nothing is computed: 100 million pixels cost no memory.
@example(TWO_BLOCKS, (10_000, 10_000))
@example(SEARCH_SPACES['small'], (224, 224))
def test_measured_costs_equal_the_formulas(space, size):
    assert measured_cost_table(space, size) == cost_table(space, size)


def test_blocks_without_formula_can_be_measured():
    @CHOICE_BLOCKS.register_module()
    def toy_conv(in_channels, out_channels, stride, **_):
        return nn.Conv2d(
            in_channels, out_channels, 3, stride, 1, groups=4, bias=False
        )

    space = SearchSpace(4, (8,), (2,), ('toy_conv', 'shuffle_3x3'))
    try:
        table = exact_cost_table(space, (32, 32))
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


@pytest.mark.parametrize('kind', DETECTORS)
def test_rest_of_the_detector_is_counted(kind):
    detector = build_detector(kind, '012301')
    batch = detection_batch(1, seed=3, size=(60, 90))
    before = copies(detector.state_dict())
    cost, size = count_rest_of_detector(detector, batch)
    # Padded to a multiple of 32.
    assert size == (64, 96)

    backbone = detector.backbone
    assert cost.params == count_params(detector) - count_params(backbone)
    image = torch.zeros(1, 3, *size)
    of_backbone = count_macs(backbone, lambda: backbone(image))
    # PyTorch counts at its operators: two FLOPs for a multiply-add.
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        detector.val_step(batch)
    assert 2 * (cost.macs + of_backbone) == counter.get_total_flops()

    # Another path has the same rest, and counting leaves no trace.
    detector.backbone.set_path('333333')
    if kind == 'retinanet':
        assert count_rest_of_detector(detector, batch)[0] == cost
    assert not changed_keys(before, detector.state_dict())
    assert not any(m._forward_hooks for m in detector.modules())
    assert not any(m._forward_pre_hooks for m in detector.modules())
