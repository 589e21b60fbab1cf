"""Forward pass whose only purpose is to update BN statistics."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor


def bn_independent_of_loss(model: BaseModel) -> bool:
    """Return whether the BN statistics are the same without the losses.

    True for mmdet's one-stage detectors, whose head runs completely before
    its outputs are compared with the boxes. In two-stage detectors the loss
    of the first stage decides what the second stage sees.

    Detectors and heads that override mmdet's methods, and all other models,
    are assumed to need their losses.
    """
    # mmdet need not be installed for classifiers of mmpretrain.
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


def check_finite(outputs: Any) -> None:
    """Check that a path computes finite numbers, in one device transfer.

    Args:
        outputs: Losses by name, or the outputs of the heads.

    Raises:
        FloatingPointError: If a loss or an output is not finite; the BN
            statistics are not finite then, either.
    """
    if isinstance(outputs, Mapping):
        named = {key: loss for key, loss in outputs.items() if 'loss' in key}
    else:
        named = {'an output of the heads': outputs}
    extremes = {
        name: [
            extreme.float()
            for tensor in _tensors(value)
            for extreme in tensor.aminmax()
        ]
        for name, value in named.items()
    }
    values = sum(extremes.values(), [])
    if not values or torch.stack(values).isfinite().all():
        return
    name, value = next(
        (name, float(value))
        for name, values in extremes.items()
        for value in values
        if not math.isfinite(value)
    )
    raise FloatingPointError(
        f'{name} is {value} on the images of the BN statistics'
    )


def _tensors(value: Any) -> Iterator[Tensor]:
    if torch.is_tensor(value):
        if value.numel():
            yield value.detach()
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
