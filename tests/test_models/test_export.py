"""Exported backbones compute what the PyTorch ones do."""

import importlib.util

import pytest
import torch
from kit.models import searched
from kit.spaces import DETECTOR_SPACE

from detnas_mm.models.export import (
    export_backbone,
    largest_difference,
    load_exported,
)

HAS_ONNX = all(map(importlib.util.find_spec, ('onnxscript', 'onnxruntime')))
needs_onnx = pytest.mark.skipif(not HAS_ONNX, reason='no ONNX installed')
FORMATS = ['.pt2', pytest.param('.onnx', marks=needs_onnx)]
PATH = '012301'  # each choice, Xception with stride 2, too


@pytest.mark.parametrize('shuffle', ['grouped', 'interleaved'])
@pytest.mark.parametrize('ending', FORMATS)
@pytest.mark.filterwarnings('ignore')
def test_outputs_are_the_same_for_any_number_of_images(
    tmp_path, ending, shuffle
):
    net = searched(DETECTOR_SPACE, PATH, shuffle=shuffle).eval()
    file = tmp_path / f'backbone{ending}'
    export_backbone(net, file, torch.randn(2, 3, 64, 96))
    run = load_exported(file)
    for num_images in (1, 3):
        images = torch.randn(num_images, 3, 64, 96)
        with torch.no_grad():
            expected = net(images)
            outputs = run(images)
        assert [one.shape for one in outputs] == [
            one.shape for one in expected
        ]
        for one, other in zip(outputs, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
        assert largest_difference(net, file, images) < 1e-3
    # Other weights would be noticed.
    other = searched(DETECTOR_SPACE, PATH, seed=1, shuffle=shuffle).eval()
    assert largest_difference(other, file, images) > 1e-2


@needs_onnx
@pytest.mark.filterwarnings('ignore')
def test_outputs_of_onnx_are_named_by_their_stages(tmp_path):
    import onnxruntime

    net = searched(DETECTOR_SPACE, PATH, out_indices=(1, 3)).eval()
    file = tmp_path / 'backbone.onnx'
    export_backbone(net, file, torch.randn(2, 3, 64, 64))
    session = onnxruntime.InferenceSession(file)
    names = [one.name for one in session.get_outputs()]
    assert names == ['stage2', 'stage4']


def test_other_formats_are_refused(tmp_path):
    net = searched(DETECTOR_SPACE, PATH)
    with pytest.raises(ValueError, match=r'\.pt2 or \.onnx'):
        export_backbone(net, tmp_path / 'net.pth', torch.randn(2, 3, 64, 64))
