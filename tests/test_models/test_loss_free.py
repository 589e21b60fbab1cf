"""Detectors whose BN statistics are the same without their losses."""

import pytest
import torch
from kit.detectors import build_detector, detection_batch
from kit.models import ToyClassifier, supernet
from kit.spaces import FOUR_BLOCKS
from mmdet.models import RetinaNet
from mmdet.models.dense_heads import RetinaHead

from detnas_mm.models import BNRecalibration
from detnas_mm.models.loss_free import losses_are_apart

PATH = (0, 3, 1, 2, 1, 0)


def test_one_stage_detectors_need_no_losses():
    assert losses_are_apart(build_detector('retinanet'))


def test_two_stages_depend_on_those_of_the_first():
    assert not losses_are_apart(build_detector('faster_rcnn'))


def test_other_models_are_left_alone():
    assert not losses_are_apart(ToyClassifier(supernet(FOUR_BLOCKS)))


@pytest.mark.parametrize(
    ('part', 'method'), [('detector', 'loss'), ('head', 'loss')]
)
def test_methods_of_somebody_else_may_do_anything(part, method):
    class Detector(RetinaNet):
        pass

    class Head(RetinaHead):
        pass

    Detector.__module__ = Head.__module__ = 'mmdet.models'
    detector = build_detector('retinanet')
    detector.__class__, detector.bbox_head.__class__ = Detector, Head
    assert losses_are_apart(detector)
    setattr(dict(detector=Detector, head=Head)[part], method, print)
    assert not losses_are_apart(detector)


def statistics(mode):
    detector = build_detector('retinanet', PATH)
    recalibration = BNRecalibration(detector)
    recalibration._mode = mode or recalibration._mode
    recalibration.add([detection_batch(2, 0), detection_batch(3, 1)])
    return recalibration.statistics().values


def test_statistics_are_those_with_losses():
    without, given = statistics(None), statistics('loss')
    assert len(given) > 20
    assert all(map(torch.equal, without, given))


def test_no_loss_is_computed(monkeypatch):
    monkeypatch.setattr(RetinaHead, 'loss_by_feat', None)
    assert statistics(None)
    with pytest.raises(TypeError):
        statistics('loss')
