"""Predictions of mixed precision."""

import pytest
import torch
from kit.detectors import build_detector, detection_batch
from torch import nn

from detnas_mm.evaluation import float32_predictions
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
