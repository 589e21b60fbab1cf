"""The candidate operations: shapes, order of layers, channel shuffle."""

import pytest
import torch
from torch import nn

from detnas_mm.models import build_choice_block
from detnas_mm.models.backbones.choice_blocks import split_channels
from detnas_mm.structures import SHUFFLE_CHOICES
from detnas_mm.utils.errors import InputError

KERNELS = dict(shuffle_3x3=3, shuffle_5x5=5, shuffle_7x7=7, xception=3)
# As in the authors' supernets (grouped) and final nets (interleaved): which
# of 8 channels pass through, and which enter the main branch.
SHUFFLES = dict(
    grouped=([0, 4, 1, 5], [2, 6, 3, 7]),
    interleaved=([0, 2, 4, 6], [1, 3, 5, 7]),
)


def build(name='shuffle_3x3', stride=1, channels=(8, 8), **settings):
    settings = dict(shuffle='grouped', norm_cfg=dict(type='BN')) | settings
    return build_choice_block(
        name,
        in_channels=channels[0],
        out_channels=channels[1],
        stride=stride,
        **settings,
    )


def described(layers):
    """Kernel, channels, groups and stride of convolutions; BN; ReLU."""
    result = []
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            size, width = layer.kernel_size[0], layer.out_channels
            assert layer.bias is None
            assert layer.padding == (size // 2, size // 2)
            kind = 'dw' if layer.groups > 1 else 'pw'
            assert layer.groups in (1, layer.in_channels)
            result.append(
                f'{kind}{size} {layer.in_channels}-{width} /{layer.stride[0]}'
            )
        elif isinstance(layer, nn.BatchNorm2d):
            assert layer.eps == 1e-5
            result.append(f'bn {layer.num_features}')
        else:
            assert isinstance(layer, nn.ReLU)
            result.append('relu')
    return result


def pointwise(channels, out):
    return [f'pw1 {channels}-{out} /1', f'bn {out}', 'relu']


def separable(kernel, channels, out, stride=1):
    depthwise = f'dw{kernel} {channels}-{channels} /{stride}'
    return [depthwise, f'bn {channels}', *pointwise(channels, out)]


@pytest.mark.parametrize('name', SHUFFLE_CHOICES[:3])
def test_layers_of_shuffle_blocks(name):
    kernel = KERNELS[name]
    block = build(name, 1, (8, 8))
    assert described(block.main) == [
        *pointwise(4, 4),
        *separable(kernel, 4, 4),
    ]
    assert not hasattr(block, 'projection')
    # With stride 2: mid C_out // 2, out C_out - C_in, no split.
    block = build(name, 2, (6, 20))
    assert described(block.main) == [
        *pointwise(6, 10),
        *separable(kernel, 10, 14, 2),
    ]
    assert described(block.projection) == separable(kernel, 6, 6, 2)


def test_layers_of_xception_blocks():
    block = build('xception', 1, (8, 8))
    assert described(block.main) == 3 * separable(3, 4, 4)
    block = build('xception', 2, (6, 20))
    assert described(block.main) == [
        *separable(3, 6, 10, 2),
        *separable(3, 10, 10),
        *separable(3, 10, 14),
    ]
    assert described(block.projection) == separable(3, 6, 6, 2)


@pytest.mark.parametrize('shuffle', SHUFFLES)
def test_shuffle_keeps_channels_last(shuffle):
    """A copy into the other format would slow down all that follows."""
    x = torch.randn(2, 8, 3, 5)
    x = x.to(memory_format=torch.channels_last)
    for half in split_channels(x, shuffle):
        assert half.stride(1) <= 2 < half.stride(3)


@pytest.mark.parametrize('shuffle', SHUFFLES)
def test_block_of_stride_1_passes_half_of_the_channels(shuffle):
    block = build(shuffle=shuffle).eval()
    x = torch.randn(2, 8, 5, 5)
    passed, taken = SHUFFLES[shuffle]
    expected = torch.cat((x[:, passed], block.main(x[:, taken])), dim=1)
    assert torch.equal(block(x), expected)


def test_block_of_stride_2_is_projection_then_main():
    block = build(stride=2, channels=(6, 20)).eval()
    x = torch.randn(2, 6, 5, 5)
    out = block(x)
    assert torch.equal(out[:, :6], block.projection(x))
    assert torch.equal(out[:, 6:], block.main(x))


def test_the_input_is_left_as_it_was():
    """ReLU works in place, which must not reach what passes through."""
    x = torch.randn(2, 8, 5, 5)
    before = x.clone()
    for shuffle in SHUFFLES:
        for name in SHUFFLE_CHOICES:
            build(name, shuffle=shuffle)(x)
            build(name, 2, (8, 20), shuffle=shuffle)(x)
    assert torch.equal(x, before)


def test_unknown_block_is_named():
    with pytest.raises(InputError, match="'conv' is not .*CHOICE_BLOCKS"):
        build('conv')


def test_expansion_widens_the_inner_layers():
    """The inner channels are those of ShuffleNetV2 times the expansion."""
    block = build('shuffle_5x5', 1, (8, 8), expansion=3)
    assert described(block.main) == [
        *pointwise(4, 12),
        *separable(5, 12, 4),
    ]
    block = build('xception', 2, (6, 20), expansion=0.5)
    assert described(block.main) == [
        *separable(3, 6, 5, stride=2),
        *separable(3, 5, 5),
        *separable(3, 5, 14),
    ]


def test_skip_is_the_identity():
    block = build('skip', 1, (8, 8))
    x = torch.randn(2, 8, 5, 5)
    assert torch.equal(block(x), x)
    assert not block.state_dict()


@pytest.mark.parametrize('shuffle', SHUFFLES)
def test_shuffle_skip_leaves_channels_where_a_block_leaves_them(shuffle):
    skip = build('shuffle_skip', 1, (8, 8), shuffle=shuffle)
    x = torch.randn(2, 8, 5, 5)
    passed, taken = SHUFFLES[shuffle]
    assert torch.equal(skip(x), x[:, passed + taken])
    assert not skip.state_dict()


def test_settings_that_a_block_does_not_take_are_refused():
    for name, settings, message in (
        ('skip', dict(stride=2), "'skip' exists at stride 1 alone, got 2"),
        (
            'shuffle_skip',
            dict(stride=2),
            "'shuffle_skip' exists at stride 1 alone, got 2",
        ),
        ('shuffle_3x3', dict(expansion=0), '`expansion` must be more than 0'),
        ('xception', dict(width=2), "'xception' does not take.*width"),
    ):
        with pytest.raises(InputError, match=message):
            build(name, **settings)
