"""Blocks that a user registers: those that do wrong are named at once."""

import re
from pathlib import Path

import pytest
import torch
from mmcv.cnn import ConvModule
from torch import nn

from detnas_mm.models import DetNASNet, DetNASSupernet, build_choice_block
from detnas_mm.registry import CHOICE_BLOCKS


@pytest.fixture
def register():
    """Registers a block for the duration of a test."""

    def add(build):
        CHOICE_BLOCKS.register_module(name='mine', module=build, force=True)

    yield add
    CHOICE_BLOCKS.module_dict.pop('mine', None)


def build(channels=(8, 20), stride=2, norm_cfg=None):
    return build_choice_block(
        'mine',
        in_channels=channels[0],
        out_channels=channels[1],
        stride=stride,
        shuffle='grouped',
        norm_cfg=norm_cfg or dict(type='BN'),
    )


def plain(in_channels, out_channels, *, stride, shuffle, norm_cfg):
    return ConvModule(
        in_channels, out_channels, 3, stride, 1, norm_cfg=norm_cfg
    )


def unpadded(in_channels, out_channels, *, stride, **_):
    return nn.Conv2d(in_channels, out_channels, 3, stride)


def wider(in_channels, out_channels, *, stride, **_):
    return nn.Conv2d(in_channels, out_channels + 2, 3, stride, 1)


def always_stride_1(in_channels, out_channels, **_):
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


def mismatched(in_channels, out_channels, *, stride, **_):
    return nn.Conv2d(in_channels + 1, out_channels, 3, stride, 1)


def two_outputs(**settings):
    class Pair(nn.Module):
        def forward(self, x):
            return 'a', 'b'

    return Pair()


@pytest.mark.parametrize(
    ('wrong', 'what'),
    [
        (unpadded, 'gave (1, 20, 15, 15)'),
        (wider, 'gave (1, 22, 16, 16)'),
        (always_stride_1, 'gave (1, 20, 32, 32)'),
        (two_outputs, 'gave tuple'),
        (mismatched, 'failed with "Given groups=1'),
    ],
)
def test_wrong_output_is_named(register, wrong, what):
    register(wrong)
    for _ in range(2):  # nor is it let pass the second time
        with pytest.raises(ValueError, match=re.escape(what)) as raised:
            build()
        message = str(raised.value)
        assert message.startswith("choice block 'mine' ")
        assert (
            'for features of (1, 8, 32, 32), expected (1, 20, 16, 16): '
            'in_channels=8, out_channels=20, stride=2; see "A new block" in '
            'docs/own_search_space.md'
        ) in message
        assert '\n' not in message


def test_wrong_signature_is_named(register):
    def no_shuffle(in_channels, out_channels, *, stride, norm_cfg):
        return nn.Identity()

    register(no_shuffle)
    with pytest.raises(
        ValueError,
        match=r"'mine' failed with .*unexpected keyword argument 'shuffle'.* "
        'in_channels, out_channels, stride, shuffle, norm_cfg by name; see',
    ):
        build()


def test_place_of_an_error_in_a_block_is_named(register):
    class Failing(nn.Module):
        def __init__(self, **_):
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, x):
            return self.linear(x)

    register(Failing)
    line = Failing.forward.__code__.co_firstlineno + 1
    with pytest.raises(ValueError, match=f'{Path(__file__).name}:{line} for'):
        build()

    def wrong_inside(**_):
        return nn.Conv2d(1, 1, 3, pading=1)

    register(wrong_inside)
    line = wrong_inside.__code__.co_firstlineno + 1
    with pytest.raises(ValueError, match=f'{Path(__file__).name}:{line}; see'):
        build()


def test_kernels_may_be_large(register):
    def large(in_channels, out_channels, *, stride, **_):
        return nn.Sequential(
            nn.ReflectionPad2d(4),
            nn.Conv2d(in_channels, out_channels, 9, stride=stride),
        )

    register(large)
    build()


def test_what_is_no_module_is_named(register):
    register(lambda **_: None)
    with pytest.raises(ValueError, match="'mine' returned NoneType, expected"):
        build()


class Noting(nn.Module):
    """Draws numbers, writes a buffer, and counts how often it ran."""

    runs = 0

    def __init__(self, in_channels, out_channels, stride, norm_cfg, **_):
        super().__init__()
        self.block = plain(
            in_channels,
            out_channels,
            stride=stride,
            shuffle='',
            norm_cfg=norm_cfg,
        )
        self.block.norm.eval()
        self.register_buffer('seen', torch.zeros(1))

    def forward(self, x):
        assert not self.training
        assert not torch.is_grad_enabled()
        type(self).runs += 1
        self.seen += torch.rand(1)
        return self.block(x)


def test_trying_a_block_leaves_no_trace(register):
    register(Noting)
    torch.manual_seed(0)
    settings = dict(shuffle='', norm_cfg=dict(type='BN'))
    expected = Noting(8, 20, 2, **settings).state_dict()
    number = torch.rand(1)
    torch.manual_seed(0)
    block = build()
    assert torch.equal(torch.rand(1), number)
    for name, value in block.state_dict().items():
        assert torch.equal(value, expected[name])
    assert all(param.grad is None for param in block.parameters())
    # As it was built: training, but for one layer.
    assert block.training
    assert not block.block.norm.training
    assert Noting.runs == 1


@pytest.mark.parametrize('kind', ['BN', 'SyncBN', 'GN'])
def test_right_blocks_pass(register, kind):
    register(lambda **settings: plain(**settings))
    norm_cfg = dict(type=kind)
    if kind == 'GN':
        norm_cfg['num_groups'] = 4
    assert isinstance(build(norm_cfg=norm_cfg), ConvModule)


def test_meta_device_is_left_out(register):
    """Nothing is computed there; the block that is trained is tried."""
    register(unpadded)
    with torch.device('meta'):
        assert build().weight.is_meta
    with pytest.raises(ValueError, match='gave'):
        build()


@pytest.mark.parametrize(
    'kind', [DetNASSupernet, lambda **space: DetNASNet(path='0000', **space)]
)
def test_supernet_and_net_do_not_start_with_it(register, kind):
    register(unpadded)
    space = dict(
        stem_channels=4,
        stage_channels=[8, 16, 24, 32],
        stage_blocks=[1] * 4,
        choices=['mine'],
    )
    with pytest.raises(ValueError, match=r"'mine' gave \(1, 8, 15, 15\)"):
        kind(search_space=space)
