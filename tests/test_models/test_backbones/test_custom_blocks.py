"""Choice blocks that users register: wrong ones are refused at once."""

import re

import pytest
import torch
from mmcv.cnn import ConvModule
from torch import nn

from detnas_mm.models import (
    DetNASNet,
    DetNASSupernet,
    build_choice_block,
    measured_cost_table,
)
from detnas_mm.registry import CHOICE_BLOCKS
from detnas_mm.structures import SearchSpace
from detnas_mm.utils.errors import InputError


@pytest.fixture
def register():
    """Registers a block for the duration of a test."""

    def add(build):
        CHOICE_BLOCKS.register_module(name='mine', module=build, force=True)

    yield add
    CHOICE_BLOCKS.module_dict.pop('mine', None)


def build(**changes):
    settings = dict(
        in_channels=8,
        out_channels=20,
        stride=2,
        shuffle='grouped',
        norm_cfg=dict(type='BN'),
    )
    return build_choice_block('mine', **settings | changes)


def conv(in_channels, out_channels, *, stride, norm_cfg, shuffle):
    return ConvModule(
        in_channels, out_channels, 3, stride, 1, norm_cfg=norm_cfg
    )


def always_stride_1(in_channels, out_channels, **_):
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


def mismatched(in_channels, out_channels, *, stride, **_):
    return nn.Conv2d(in_channels + 1, out_channels, 3, stride, 1)


def without_shuffle(in_channels, out_channels, *, stride, norm_cfg):
    return nn.Identity()


class TwoOutputs(nn.Module):
    def __init__(self, **_):
        super().__init__()

    def forward(self, x):
        return 'a', 'b'


def test_wrong_block_is_refused(register):
    for wrong, problem in (
        (always_stride_1, 'returned (1, 20, 32, 32);'),
        (TwoOutputs, 'returned tuple;'),
        (mismatched, 'failed with RuntimeError "Given groups=1'),
        (without_shuffle, "unexpected keyword argument 'shuffle'"),
        (lambda **_: None, 'failed with TypeError "it is a NoneType'),
    ):
        register(wrong)
        with pytest.raises(InputError, match=re.escape(problem)) as error:
            build()
        message = str(error.value)
        assert message.startswith("choice block 'mine' ")
        assert 'in_channels=8, out_channels=20, stride=2, shuffle=' in message
        assert 'maps (1, 8, 32, 32) to (1, 20, 16, 16), see' in message
        assert '\n' not in message


def test_supernet_net_and_cost_table_name_the_place(register):
    """The blocks of the table are on the meta device."""
    register(always_stride_1)
    space = SearchSpace(4, (8, 16), (1, 1), ('shuffle_3x3', 'mine'))
    for refuse in (
        lambda: DetNASSupernet(space, out_indices=[0]),
        lambda: DetNASNet('01', space, out_indices=[0]),
        lambda: measured_cost_table(space),
    ):
        with pytest.raises(InputError, match=r"^block \d.1: .*'mine' retur"):
            refuse()


class Noting(nn.Module):
    """Draws numbers, writes a buffer, and has a layer in eval mode."""

    def __init__(self, **settings):
        super().__init__()
        self.block = conv(**settings)
        self.block.norm.eval()
        self.register_buffer('seen', torch.zeros(1))

    def forward(self, x):
        assert not self.training
        assert not torch.is_grad_enabled()
        self.seen += torch.rand(1)
        return self.block(x)


def test_trial_leaves_no_trace(register):
    register(Noting)
    settings = dict(in_channels=8, out_channels=20, stride=2, shuffle='')
    torch.manual_seed(0)
    expected = Noting(norm_cfg=dict(type='BN'), **settings).state_dict()
    number = torch.rand(1)
    torch.manual_seed(0)
    block = build()
    assert torch.equal(torch.rand(1), number)
    for name, value in block.state_dict().items():
        assert torch.equal(value, expected[name])
    assert block.training
    assert not block.block.norm.training


def test_right_blocks_pass(register):
    register(conv)
    for norm_cfg in (dict(type='SyncBN'), dict(type='GN', num_groups=4)):
        assert isinstance(build(norm_cfg=norm_cfg), ConvModule)
    # A kernel that is larger than the features of the last stage.
    register(
        lambda in_channels, out_channels, stride, **_: nn.Sequential(
            nn.ReflectionPad2d(4),
            nn.Conv2d(in_channels, out_channels, 9, stride=stride),
        )
    )
    build()
