"""Losses that BN statistics do not need, and outputs that are not finite."""

import math

import pytest
import torch
from kit.detectors import build_detector, detection_batch
from kit.models import ToyClassifier, supernet
from kit.spaces import FOUR_BLOCKS
from mmdet.models import RetinaNet
from mmdet.models.dense_heads import RetinaHead

from detnas_mm.models import BNRecalibration
from detnas_mm.models.bn_recalibration import (
    bn_independent_of_loss,
    check_finite,
)
from detnas_mm.utils.errors import InputError

FINE = torch.tensor([3.0, -4.0])


def test_only_one_stage_detectors_need_no_losses():
    assert bn_independent_of_loss(build_detector('retinanet'))
    assert not bn_independent_of_loss(build_detector('faster_rcnn'))
    assert not bn_independent_of_loss(ToyClassifier(supernet(FOUR_BLOCKS)))


@pytest.mark.parametrize('part', ['detector', 'head'])
def test_overridden_methods_may_do_anything(part):
    class Detector(RetinaNet):
        pass

    class Head(RetinaHead):
        pass

    Detector.__module__ = Head.__module__ = 'mmdet.models'
    detector = build_detector('retinanet')
    detector.__class__, detector.bbox_head.__class__ = Detector, Head
    assert bn_independent_of_loss(detector)
    dict(detector=Detector, head=Head)[part].loss = print
    assert not bn_independent_of_loss(detector)


def statistics(mode=None):
    detector = build_detector('retinanet', (0, 3, 1, 2, 1, 0))
    recalibration = BNRecalibration(detector)
    recalibration._mode = mode or recalibration._mode
    recalibration.add([detection_batch(2, 0), detection_batch(3, 1)])
    recalibration.write()
    return list(detector.buffers())


def test_statistics_are_the_same_without_losses(monkeypatch):
    with_losses = statistics('loss')
    # No loss is computed.
    monkeypatch.setattr(RetinaHead, 'loss_by_feat', None)
    assert all(map(torch.equal, statistics(), with_losses))
    with pytest.raises(TypeError):
        statistics('loss')


@pytest.mark.parametrize(
    'outputs',
    [
        {},
        None,
        [],
        torch.zeros(0),
        dict(loss=FINE, loss_list=[FINE, FINE], acc=torch.tensor(math.nan)),
        ([FINE, FINE], [FINE.half()]),
        # The sum of so many large numbers is not finite.
        [torch.full((9,), 6e4, dtype=torch.half)],
    ],
)
def test_finite_outputs_pass(outputs):
    check_finite(outputs)


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize('dtype', [torch.float, torch.bfloat16])
def test_one_value_that_is_not_finite_is_refused(value, dtype):
    wrong = torch.zeros(2, 3, 4, dtype=dtype)
    wrong[1, 2, 3] = value
    with pytest.raises(InputError, match=f'loss_bbox is {value} on the image'):
        check_finite(dict(loss_cls=FINE, loss_bbox=[FINE, wrong]))
    with pytest.raises(InputError, match=f'of the heads is {value} on'):
        check_finite(([FINE], [FINE, wrong]))
