"""Choices that start as one function."""

import pytest
import torch
from torch import nn

from detnas_mm.models import AlignedInit, DetNASNet, DetNASSupernet


def initialized(space='tiny'):
    torch.manual_seed(0)
    net = DetNASSupernet(space, init_cfg=dict(type='detnas_mm.AlignedInit'))
    net.init_weights()
    return net.train()


def test_kernel_choices_are_one_function():
    """In the interior and at the borders: zeros surround the kernel."""
    net = initialized()
    x = torch.randn(2, 3, 64, 64)
    with net.activate('0' * 10):
        expected = net(x)
    for path in ('1111111111', '2222222222', '0121021012'):
        with net.activate(path):
            outputs = net(x)
        torch.testing.assert_close(outputs, expected, rtol=1e-3, atol=1e-4)


def test_width_and_kernel_choices_are_one_function():
    net = initialized('elastic_tiny')
    x = torch.randn(2, 3, 64, 64)
    with net.activate('003 003 0033 003'):
        expected = net(x)
    for path in ('223 113 2133 123', '213 203 1233 213'):
        with net.activate(path):
            outputs = net(x)
        torch.testing.assert_close(outputs, expected, rtol=1e-3, atol=1e-4)
    # Both halves of a wide block learn.
    with net.activate('222 222 2222 222'):
        net(x)[-1].square().sum().backward()
    wide = net.blocks[1][2].main
    assert wide[5].weight.grad[:, 16:].abs().max() > 0


def correlation(first, second):
    pair = torch.stack((first.flatten(), second.flatten()))
    return torch.corrcoef(pair)[0, 1].item()


def test_xception_starts_alike():
    """Its additional ReLU makes a difference, but no other function."""
    net = initialized()
    x = torch.randn(4, 16, 24, 24)
    shuffle_3x3, _, _, xception = net.blocks[1]
    other = DetNASSupernet('tiny').train().blocks[1][3]
    expected = shuffle_3x3.main(x)
    alike = correlation(xception.main(x), expected)
    assert alike > 0.4 + abs(correlation(other.main(x), expected))


def test_is_for_supernets_only():
    for module in (DetNASNet('0' * 10, 'tiny'), nn.Conv2d(1, 1, 1)):
        name = type(module).__name__
        with pytest.raises(ValueError, match=f'is for a DetNAS.*{name}'):
            AlignedInit()(module)
    choices = [
        dict(type='shuffle_3x3', expansion=2),
        dict(type='shuffle_5x5', expansion=0.5),
    ]
    space = dict(
        stem_channels=4, stage_channels=[8], stage_blocks=[2], choices=choices
    )
    net = DetNASSupernet(space, out_indices=(0,))
    with pytest.raises(ValueError, match='part of all others'):
        AlignedInit()(net)
