"""The part between backbone and classifier."""

import pytest
import torch
from kit.counting import count_macs, count_params

from detnas_mm.models import DetNASClsNeck
from detnas_mm.registry import MODELS


def test_shapes_and_cost_of_the_authors_head():
    neck = MODELS.build(
        dict(type='detnas_mm.DetNASClsNeck', in_channels=640)
    ).eval()
    features = [torch.zeros(2, 64, 9, 9), torch.rand(2, 640, 7, 7)]
    (vectors,) = neck(features)
    assert vectors.shape == (2, 1024)
    # 1x1 convolution with bias, and BN.
    assert count_params(neck) == 640 * 1024 + 1024 + 2 * 1024
    macs = count_macs(neck, lambda: neck([torch.rand(1, 640, 7, 7)]))
    # FPN-300M: 321,219,008 with head and fc-1000, 288,082,368 without.
    assert macs + 1024 * 1000 == 321_219_008 - 288_082_368


def test_order_is_convolution_norm_relu_dropout_pool():
    neck = DetNASClsNeck(4, 8, dropout=0.5)
    x = torch.rand(3, 4, 5, 5)
    conv, norm = neck.eval().layers[:2]
    expected = norm(conv(x)).relu().mean(dim=(2, 3))
    torch.testing.assert_close(neck([x])[0], expected)
    neck.train()
    torch.manual_seed(0)
    # Dropout is before the pooling: values are dropped, not vectors.
    (dropped,) = neck([x])
    assert not torch.allclose(dropped, neck([x])[0])
    assert (dropped != 0).all()


def test_initial_weights():
    neck = DetNASClsNeck(640)
    neck.init_weights()
    conv, norm = neck.layers[:2]
    assert conv.weight.std().item() * 640 == pytest.approx(1, abs=0.01)
    assert not conv.bias.any()
    assert (norm.weight == 1).all()
    assert (norm.bias == 1e-4).all()
