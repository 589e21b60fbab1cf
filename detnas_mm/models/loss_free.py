"""Detectors whose losses can be left out where only BN layers matter."""

from mmengine.model import BaseModel


def losses_are_apart(model: BaseModel) -> bool:
    """Whether the losses of a detector come after all of its layers.

    So it is in mmdet's one-stage detectors, whose head first runs on the
    features and then compares its outputs with the boxes: what BN layers
    see is the same without losses. In two-stage detectors the losses of the
    first stage decide what the second one sees.

    Only detectors and heads that leave mmdet's methods as they are count;
    anything else is taken to need its losses.
    """
    # Not installed, or not what this model is from: mmpretrain needs no
    # mmdet.
    if not type(model).__module__.startswith('mmdet.'):
        return False
    from mmdet.models import SingleStageDetector
    from mmdet.models.dense_heads.base_dense_head import BaseDenseHead

    detector, head = type(model), type(getattr(model, 'bbox_head', None))
    return (
        isinstance(model, SingleStageDetector)
        and detector.loss is SingleStageDetector.loss
        and detector._forward is SingleStageDetector._forward
        and issubclass(head, BaseDenseHead)
        and head.loss is BaseDenseHead.loss
    )
