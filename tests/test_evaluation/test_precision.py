"""Predictions of mixed precision."""

import pytest
import torch
from kit.detectors import build_detector, detection_batch
from torch import nn

from detnas_mm.evaluation.precision import (
    autocast_type,
    float32_predictions,
    require_precision,
)
from detnas_mm.models import find_supernet


@pytest.mark.parametrize('kind', ['retinanet', 'faster_rcnn'])
def test_predictions_are_float32_and_the_same(kind):
    detector = build_detector(kind).eval()
    find_supernet(detector).set_path((0, 3, 1, 2, 1, 0))
    data = detector.data_preprocessor(detection_batch(2, seed=0))

    def predict():
        with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
            samples = detector(**data, mode='predict')
        return [one.pred_instances for one in samples]

    half = predict()
    with float32_predictions(detector):
        full = predict()
    assert torch.bfloat16 in {one.scores.dtype for one in half}
    for one, other in zip(half, full, strict=True):
        assert other.scores.dtype == other.bboxes.dtype == torch.float32
        assert other.labels.dtype == torch.int64
        assert torch.equal(one.scores.float(), other.scores)
        assert torch.equal(one.labels, other.labels)
    assert not detector._forward_hooks


def test_what_is_no_prediction_stays():
    model = nn.Identity()
    half = [torch.ones(2, dtype=torch.bfloat16)]
    with float32_predictions(model):
        assert model(half)[0].dtype == torch.bfloat16


@pytest.mark.parametrize('device', ['cpu', 'cuda'])
def test_type_of_mixed_precision_holds_inside_alone(device):
    before = torch.get_autocast_dtype(device)
    for name in ('float16', 'bfloat16'):
        with autocast_type(name, device):
            assert torch.get_autocast_dtype(device) == getattr(torch, name)
        assert torch.get_autocast_dtype(device) == before
    with autocast_type(True, device):
        assert torch.get_autocast_dtype(device) == before


def test_types_of_mixed_precision():
    for device in ('cpu', 'cuda'):
        for fp16 in (False, True, 'bfloat16'):
            require_precision(fp16, device)
    require_precision('float16', 'cuda')
    for fp16, device in (('float16', 'cpu'), ('bf16', 'cuda')):
        with pytest.raises(ValueError, match=f"bfloat16, got '{fp16}'"):
            require_precision(fp16, device)
