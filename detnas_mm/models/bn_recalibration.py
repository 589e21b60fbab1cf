"""BN statistics of one path, recomputed (Section 3.2, Step 3).

A supernet's running statistics are a mixture over paths and fit none of
them. Before a path is evaluated, they are recomputed from training images.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .supernet import DetNASSupernet


def active_batch_norms(model: nn.Module) -> dict[str, _BatchNorm]:
    """Returns the BN layers with running statistics that the model uses.

    Those of the choices which a supernet's active path does not take are
    left out.
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


@contextmanager
def preserved_bn_statistics(model: nn.Module) -> Iterator[None]:
    """Restores all BN statistics at the end of a ``with`` block."""
    saved = save_bn_statistics(model)
    try:
        yield
    finally:
        restore_bn_statistics(model, saved)


def save_bn_statistics(model: nn.Module) -> dict[str, Tensor]:
    """Copies the BN statistics of the active path, by buffer name."""
    return {
        f'{name}.{key}': buffer.clone()
        for name, layer in active_batch_norms(model).items()
        for key, buffer in layer.named_buffers(recurse=False)
    }


def restore_bn_statistics(model: nn.Module, saved: dict[str, Tensor]) -> None:
    """Puts back what :func:`save_bn_statistics` copied."""
    buffers = dict(model.named_buffers())
    for name, value in saved.items():
        buffers[name].copy_(value)


class _Average:
    """Mean of statistics, weighted by numbers of images."""

    def __init__(self, layer: _BatchNorm) -> None:
        self.layer = layer
        self.mean = torch.zeros_like(layer.running_mean, dtype=torch.double)
        self.var = torch.zeros_like(layer.running_var, dtype=torch.double)
        self.weight = 0

    def add(self, num_images: int) -> None:
        self.mean += num_images * self.layer.running_mean
        self.var += num_images * self.layer.running_var
        self.weight += num_images

    def write(self) -> None:
        # A layer that no image reached keeps the statistics it had.
        if self.weight:
            self.layer.running_mean.copy_(self.mean / self.weight)
            self.layer.running_var.copy_(self.var / self.weight)


@torch.no_grad()
def recalibrate_bn(model: BaseModel, batches: Iterable[dict]) -> int:
    """Recomputes the BN statistics of the active path from images.

    The whole model runs in training mode on each batch, a detector with its
    heads and the sampling of regions, without gradients. The running mean
    and (unbiased) variance become the averages of those of the batches,
    weighted by their numbers of images: a cumulative average in which every
    image counts the same, where the authors' code lets an exponential one
    forget the first images. A layer that runs several times for a batch, as
    a head on several levels, weighs these runs equally.

    Layers in evaluation mode (``norm_eval``, frozen stages) and those of
    choices that the path does not take keep their statistics. The model is
    in training mode afterwards.

    Args:
        model: A detector or classifier of the ``mm*`` packages.
        batches: Batches as the training data loader gives them.

    Returns:
        The number of images.

    Raises:
        ValueError: If there is no image, or a loss is not finite: so are
            then the statistics.
    """
    model.train()
    layers = active_batch_norms(model).values()
    averages = [_Average(layer) for layer in layers if layer.training]
    with _statistics_of_each_batch(averages) as counts:
        for batch in batches:
            data = model.data_preprocessor(batch, True)
            counts.append(len(data['inputs']))
            _require_finite(model(**data, mode='loss') or {})
    if not sum(counts):
        raise ValueError('BN recalibration needs at least one image, got none')
    for average in averages:
        average.write()
    return sum(counts)


def _reset_statistics(layer: _BatchNorm, _: object) -> None:
    layer.running_mean.zero_()
    layer.running_var.fill_(1)


@contextmanager
def _statistics_of_each_batch(averages: list[_Average]) -> Iterator[list]:
    """Adds the statistics of each run of a layer to its average.

    With a momentum of 1 a layer's buffers hold exactly those of its last
    run, so that nothing has to be computed twice. They are reset before,
    since not even a momentum of 1 forgets NaN.
    """
    counts: list[int] = []
    momenta = [average.layer.momentum for average in averages]
    handles = []
    for average in averages:
        average.layer.momentum = 1.0
        handles.append(
            average.layer.register_forward_pre_hook(_reset_statistics)
        )
        handles.append(
            average.layer.register_forward_hook(
                lambda *_, average=average: average.add(counts[-1])
            )
        )
    try:
        yield counts
    finally:
        for average, momentum in zip(averages, momenta, strict=True):
            average.layer.momentum = momentum
        for handle in handles:
            handle.remove()


def _require_finite(losses: Mapping[str, Tensor | Sequence[Tensor]]) -> None:
    """Makes sure that a path computes numbers; asks the device only once."""
    sums = {
        name: sum(one.double().sum() for one in values)
        for name, values in losses.items()
        if 'loss' in name
        for values in [[values] if torch.is_tensor(values) else values]
    }
    if not math.isfinite(sum(sums.values())):
        values = {name: float(value) for name, value in sums.items()}
        wrong = [name for name in values if not math.isfinite(values[name])]
        raise ValueError(
            f'{wrong[0]} is {values[wrong[0]]} on the images of the BN '
            'statistics'
        )
