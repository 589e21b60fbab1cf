"""Recalibration of the BN statistics of one path (Section 3.2, Step 3).

A supernet's running statistics are a mixture over paths and fit none of
them. Before a path is evaluated, they are recomputed from training images.
"""

import copy
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from detnas_mm.models.backbones.detnas_supernet import DetNASSupernet
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.random_state import fixed_random_state


@torch.no_grad()
def recalibrate_bn(
    model: BaseModel, batches: Iterable[dict], seed: Sequence[int] = (0,)
) -> int:
    """Recompute the BN statistics of the active path from images.

    The whole model runs in training mode on each batch, without gradients; a
    detector includes its heads and the sampling of regions. The running mean
    and (unbiased) variance become the averages over the batches, weighted by
    their numbers of images. Every image therefore counts the same, whereas
    the exponential average of the authors' code forgets the first images. A
    layer that runs several times per batch, such as a head that several
    levels share, weighs these runs equally.

    Layers in evaluation mode (``norm_eval``, frozen stages) and layers of
    choices that are not on the path keep their statistics. The model is in
    training mode afterwards.

    Args:
        model: A detector or classifier of the ``mm*`` packages.
        batches: Batches of the training data loader.
        seed: Random seed, for example for the sampling of regions. The
            random state of a batch depends on the seed and its index.

    Returns:
        The number of images.
    """
    mode = 'tensor' if bn_independent_of_loss(model) else 'loss'
    augments = _new_batch_augments(model.data_preprocessor)
    model.train()
    averages = [
        _Average(layer)
        for layer in active_batch_norms(model).values()
        if layer.training
    ]
    with _statistics_of_each_batch(averages) as counts:
        for number, batch in enumerate(batches):
            with fixed_random_state((*seed, number)), _one_value_named(batch):
                with _augmenting(model.data_preprocessor, augments, number):
                    data = model.data_preprocessor(batch, True)
                counts.append(len(data['inputs']))
                check_finite(model(**data, mode=mode))
    if not counts:
        raise InputError('BN recalibration needs at least one image, got none')
    for average in averages:
        average.write()
    return sum(counts)


def _new_batch_augments(preprocessor: nn.Module) -> nn.ModuleList | None:
    """Copy the augmentations of whole batches, as before a training."""
    augments = copy.deepcopy(getattr(preprocessor, 'batch_augments', None))
    for augment in augments or ():
        # The size that the last training iteration chose.
        if hasattr(augment, '_input_size'):
            augment._input_size = None
    return augments


@contextmanager
def _augmenting(
    preprocessor: nn.Module, augments: nn.ModuleList | None, number: int
) -> Iterator[None]:
    """Use augmentations as in a training that begins with the first batch.

    Some, such as mmdet's ``BatchSyncRandomResize``, ask for the iteration
    and keep a state.
    """
    if not augments:
        yield
        return
    hub = MessageHub.get_current_instance()
    before, iteration = preprocessor.batch_augments, hub.get_info('iter')
    preprocessor.batch_augments = augments
    hub.update_info('iter', number)
    try:
        yield
    finally:
        preprocessor.batch_augments = before
        hub.update_info('iter', iteration)


def active_batch_norms(model: nn.Module) -> dict[str, _BatchNorm]:
    """Return the BN layers with running statistics that the model uses.

    Choices that are not on a supernet's active path are left out.
    """
    inactive = {
        id(layer)
        for module in model.modules()
        if isinstance(module, DetNASSupernet)
        for block in module.inactive_blocks()
        for layer in block.modules()
    }
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, _BatchNorm)
        and layer.track_running_stats
        and id(layer) not in inactive
    }


def save_bn_statistics(model: nn.Module) -> dict[str, Tensor]:
    """Copy the BN statistics of the active path, by buffer name."""
    return {
        f'{name}.{key}': buffer.clone()
        for name, layer in active_batch_norms(model).items()
        for key, buffer in layer.named_buffers(recurse=False)
    }


def restore_bn_statistics(model: nn.Module, saved: dict[str, Tensor]) -> None:
    """Restore what :func:`save_bn_statistics` copied."""
    buffers = dict(model.named_buffers())
    for name, value in saved.items():
        buffers[name].copy_(value)


class _Average:
    """Mean of a layer's statistics, weighted by numbers of images."""

    def __init__(self, layer: _BatchNorm) -> None:
        self.layer = layer
        self.mean = torch.zeros_like(layer.running_mean, dtype=torch.double)
        self.var = torch.zeros_like(layer.running_var, dtype=torch.double)
        self.weight = 0

    def add(self, num_images: int) -> None:
        self.mean.add_(self.layer.running_mean, alpha=num_images)
        self.var.add_(self.layer.running_var, alpha=num_images)
        self.weight += num_images

    def write(self) -> None:
        # A layer that no image reached keeps its statistics.
        if self.weight:
            self.layer.running_mean.copy_(self.mean / self.weight)
            self.layer.running_var.copy_(self.var / self.weight)


@contextmanager
def _one_value_named(batch: dict) -> Iterator[None]:
    """Names the settings by which a batch has no variance."""
    try:
        yield
    except ValueError as error:
        if 'more than 1 value per channel' not in str(error):
            raise
        raise InputError(
            f'a calibration batch of {len(batch["inputs"])} images has one '
            'value per channel in a BN layer, which has no variance: change '
            '`num_images` of BNRecalibrationHook or `batch_size` of '
            '`train_dataloader` so that the last batch has more images'
        ) from error


def _reset_statistics(layer: _BatchNorm, _: object) -> None:
    layer.running_mean.zero_()
    layer.running_var.fill_(1)


@contextmanager
def _statistics_of_each_batch(averages: list[_Average]) -> Iterator[list]:
    """Add the statistics of each run of a layer to its average.

    With a momentum of 1 a layer's buffers hold exactly the statistics of its
    last run, so that nothing is computed twice. They are reset before each
    run, since even a momentum of 1 does not remove a NaN.
    """
    counts: list[int] = []
    momenta = [average.layer.momentum for average in averages]
    handles = []
    for average in averages:
        layer = average.layer
        layer.momentum = 1.0
        handles += (
            layer.register_forward_pre_hook(_reset_statistics),
            layer.register_forward_hook(
                lambda *_, average=average: average.add(counts[-1])
            ),
        )
    try:
        yield counts
    finally:
        for average, momentum in zip(averages, momenta, strict=True):
            average.layer.momentum = momentum
        for handle in handles:
            handle.remove()


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
    """Check that the losses, or the outputs of the heads, are finite.

    The BN statistics are not finite otherwise. One device transfer is enough.
    """
    if isinstance(outputs, Mapping):
        named = {key: loss for key, loss in outputs.items() if 'loss' in key}
    else:
        named = {'an output of the heads': outputs}
    names, extremes = [], []
    for name, value in named.items():
        for tensor in _tensors(value):
            names += (name, name)
            extremes += map(Tensor.float, tensor.aminmax())
    if not extremes:
        return
    for name, value in zip(names, torch.stack(extremes).tolist(), strict=True):
        if not math.isfinite(value):
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
