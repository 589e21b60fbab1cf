"""Exported backbones compute what the PyTorch ones do."""

import importlib.util

import pytest
import torch
from kit.models import searched

from detnas_mm.models.export import (
    export_backbone,
    largest_difference,
    load_exported,
)
from detnas_mm.structures import SearchSpace
from detnas_mm.utils.errors import InputError

HAS_ONNX = all(map(importlib.util.find_spec, ('onnxscript', 'onnxruntime')))
needs_onnx = pytest.mark.skipif(not HAS_ONNX, reason='no ONNX installed')
SPACE = SearchSpace(4, (8, 12, 16), (2, 1, 1))
PATH = '3012'  # each choice, Xception with stride 2


@pytest.mark.parametrize(
    ('ending', 'shuffle'),
    [
        ('.pt2', 'grouped'),
        pytest.param('.onnx', 'interleaved', marks=needs_onnx),
    ],
)
@pytest.mark.filterwarnings('ignore')
def test_outputs_are_the_same_for_any_number_of_images(
    tmp_path, ending, shuffle
):
    settings = dict(shuffle=shuffle, out_indices=(0, 2))
    net = searched(SPACE, PATH, **settings).eval()
    file = tmp_path / f'backbone{ending}'
    export_backbone(net, file, torch.randn(2, 3, 32, 48))
    run = load_exported(file)
    for num_images in (1, 3):
        images = torch.randn(num_images, 3, 32, 48)
        with torch.no_grad():
            pair = tuple(run(images)), tuple(net(images))
        torch.testing.assert_close(*pair, rtol=1e-4, atol=1e-4)
        assert largest_difference(net, file, images) < 1e-3
    if ending == '.onnx':
        import onnxruntime

        outputs = onnxruntime.InferenceSession(file).get_outputs()
        assert [output.name for output in outputs] == ['stage1', 'stage3']
    # Other weights give other outputs.
    other = searched(SPACE, PATH, seed=1, **settings).eval()
    assert largest_difference(other, file, images) > 1e-2


def test_other_formats_are_refused(tmp_path):
    net = searched(SPACE, PATH)
    with pytest.raises(InputError, match=r'\.pt2 or \.onnx'):
        export_backbone(net, tmp_path / 'net.pth', torch.randn(2, 3, 64, 64))
