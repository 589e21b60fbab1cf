"""Choices that share the weights of their convolutions."""

import pytest
import torch
from hypothesis import given
from kit.models import randomized, supernet
from kit.spaces import ELASTIC, spaces_with_path

from detnas_mm.models import DetNASNet, DetNASSupernet, extract_path

DIGITS = 'elastic_tiny'


def count(net):
    return sum(p.numel() for p in net.parameters())


def test_kernels_are_crops_of_the_largest():
    """As in Once-for-All: 3x3 and 5x5 are the middle of 7x7."""
    net = supernet('small', entangled=True)
    three, five, seven, xception = net.blocks[1]
    kernels = [block.main[3].weight for block in (three, five, seven)]
    assert torch.equal(kernels[0], kernels[2][:, :, 2:5, 2:5])
    assert torch.equal(kernels[1], kernels[2][:, :, 1:6, 1:6])
    for layer in (0, 5):
        assert torch.equal(three.main[layer].weight, seven.main[layer].weight)
    # Each choice has its own normalization; Xception blocks share nothing.
    assert three.main[1].weight is not seven.main[1].weight
    alone = supernet('small').blocks[1][3]
    assert count(xception) == count(alone)


def test_narrow_choices_are_the_first_channels_of_the_wide_one():
    net = supernet(DIGITS, entangled=True)
    three, _, wide, _ = net.blocks[1]
    first, second = three.main[0].weight, three.main[5].weight
    assert torch.equal(first, wide.main[0].weight[: len(first)])
    assert torch.equal(second, wide.main[5].weight[:, : second.shape[1]])
    assert count(net) < 0.95 * count(supernet(DIGITS))


@given(spaces_with_path())
def test_checkpoints_are_those_of_any_supernet(drawn):
    """Read by a supernet whose choices share nothing, and by a subnet."""
    space, path = drawn
    net = supernet(space, path, entangled=True).eval()
    images = torch.randn(1, 3, 32, 32)
    features = net(images)
    state_dict = net.state_dict()
    other = DetNASSupernet(space, out_indices=net.out_indices).eval()
    other.load_state_dict(state_dict)
    other.set_path(path)
    torch.testing.assert_close(other(images), features)
    subnet = DetNASNet(path, space, out_indices=net.out_indices).eval()
    subnet.load_state_dict(extract_path(state_dict, path, prefix=''))
    torch.testing.assert_close(subnet(images), features)
    again = randomized(supernet(space, path, entangled=True), seed=1).eval()
    again.load_state_dict(state_dict)
    torch.testing.assert_close(again(images), features)


def test_training_a_choice_trains_its_part_of_the_others():
    net = supernet(DIGITS, '003 003 0033 003', entangled=True)
    net(torch.randn(2, 3, 64, 64))[-1].square().sum().backward()
    wide = net.blocks[1][2].main
    half = len(net.blocks[1][0].main[0].weight)
    gradient = wide[0].weight.grad
    assert gradient[:half].abs().max() > 0
    assert gradient[half:].abs().max() == 0
    assert wide[1].weight.grad is None


def test_aligned_init_aligns_choices_that_share():
    torch.manual_seed(0)
    net = DetNASSupernet(
        DIGITS, entangled=True, init_cfg=dict(type='detnas_mm.AlignedInit')
    )
    net.init_weights()
    net.train()
    images = torch.randn(2, 3, 64, 64)
    with net.activate('003 003 0033 003'):
        expected = net(images)
    assert expected[-1].std() > 0.1
    with net.activate('223 113 2133 123'):
        outputs = net(images)
    torch.testing.assert_close(outputs, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('path', ['00 001', '01 112'])
def test_moving_keeps_the_weights_shared(path):
    net = supernet(ELASTIC, path, entangled=True)
    net.to(torch.float64).to(memory_format=torch.channels_last)
    three, five, _ = net.blocks[1]
    with torch.no_grad():
        five.main[0].weight.fill_(2.0)
    assert three.main[0].weight.unique().tolist() == [2.0]
    net(torch.randn(1, 3, 32, 32, dtype=torch.float64))
