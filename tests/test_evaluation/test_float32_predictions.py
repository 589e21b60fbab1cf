"""Predictions in mixed precision."""

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
        return [sample.pred_instances for sample in samples]

    half = predict()
    with float32_predictions(detector):
        full = predict()
    assert torch.bfloat16 in {found.scores.dtype for found in half}
    for before, after in zip(half, full, strict=True):
        assert after.scores.dtype == after.bboxes.dtype == torch.float32
        assert after.labels.dtype == torch.int64
        assert torch.equal(before.scores.float(), after.scores)
        assert torch.equal(before.labels, after.labels)
    assert not detector._forward_hooks


def test_other_outputs_stay():
    model = nn.Identity()
    half = [torch.ones(2, dtype=torch.bfloat16)]
    with float32_predictions(model):
        assert model(half)[0].dtype == torch.bfloat16
