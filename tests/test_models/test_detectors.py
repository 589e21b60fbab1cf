"""Recalibration and counting on detectors of mmdet."""

import random

import numpy as np
import pytest
import torch
from kit.counting import count_macs, count_params
from kit.detectors import DETECTORS, build_detector, detection_batch
from kit.models import changed_keys, copies
from torch.utils.flop_counter import FlopCounterMode

from detnas_mm.models import count_rest_of_detector, recalibrate_bn

PATH = '012301'
BATCHES = [detection_batch(2, seed=0), detection_batch(3, seed=1)]

pytestmark = pytest.mark.parametrize('kind', DETECTORS)


def recalibrated(detector, seed=5):
    """Buffers after a recalibration."""
    assert recalibrate_bn(detector, BATCHES, (seed,)) == 5
    buffers = copies(dict(detector.named_buffers()))
    return {
        key: value
        for key, value in buffers.items()
        if key.endswith(('running_mean', 'running_var'))
    }


def test_recalibration_twice_gives_the_same(kind):
    """Sampling of regions included, whatever was drawn before."""
    detector = build_detector(kind, PATH)
    before = copies(detector.state_dict())
    first = recalibrated(detector)
    torch.rand(7), np.random.rand(7), random.random()
    assert not changed_keys(first, recalibrated(detector))
    assert not changed_keys(first, recalibrated(build_detector(kind, PATH)))
    # Statistics of the heads are recomputed too, weights are not.
    changed = changed_keys(before, detector.state_dict())
    parts = {key.split('.')[0] for key in changed}
    assert {'backbone', 'neck'} < parts
    assert all('running' in key or 'num_batches' in key for key in changed)


def test_sampling_of_regions_depends_on_the_random_state(kind):
    """So that the test above means something for the box head."""
    detector = build_detector(kind, PATH)
    first, second = recalibrated(detector, 5), recalibrated(detector, 6)
    changed = changed_keys(first, second)
    if kind == 'faster_rcnn':
        assert changed
        assert all(key.startswith('roi_head.') for key in changed)
    else:
        assert not changed


def test_random_state_is_given_back(kind):
    detector = build_detector(kind, PATH)

    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    for seed_all in (random.seed, np.random.seed, torch.manual_seed):
        seed_all(3)
    expected = draw()
    for seed_all in (random.seed, np.random.seed, torch.manual_seed):
        seed_all(3)
    recalibrated(detector)
    assert draw() == expected


def test_rest_of_the_detector_is_counted(kind):
    detector = build_detector(kind, PATH)
    batch = detection_batch(1, seed=3, size=(60, 90))
    before = copies(detector.state_dict())
    cost, size = count_rest_of_detector(detector, batch)
    # Padded to a multiple of 32.
    assert size == (64, 96)

    backbone = detector.backbone
    assert cost.params == count_params(detector) - count_params(backbone)
    image = torch.zeros(1, 3, *size)
    of_backbone = count_macs(backbone, lambda: backbone(image))
    # PyTorch counts at its operators: two FLOPs for a multiply-add.
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        detector.val_step(batch)
    assert 2 * (cost.macs + of_backbone) == counter.get_total_flops()

    # Another path has the same rest, and counting leaves no trace.
    detector.backbone.set_path('333333')
    if kind == 'retinanet':
        assert count_rest_of_detector(detector, batch)[0] == cost
    assert not changed_keys(before, detector.state_dict())
    assert not any(m._forward_hooks for m in detector.modules())
    assert not any(m._forward_pre_hooks for m in detector.modules())
