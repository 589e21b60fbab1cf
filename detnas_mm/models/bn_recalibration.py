"""BN statistics of one path, recomputed (Section 3.2, Step 3).

A supernet's running statistics are a mixture over paths and fit none of
them. Before a path is evaluated, they are recomputed from training images.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from detnas_mm.models.backbones.detnas_supernet import DetNASSupernet
from detnas_mm.models.finite_outputs import require_finite
from detnas_mm.models.loss_free import losses_are_apart
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.random_state import fixed_random_state


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
        self.mean.add_(self.layer.running_mean, alpha=num_images)
        self.var.add_(self.layer.running_var, alpha=num_images)
        self.weight += num_images

    def values(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields each buffer with its value."""
        # A layer that no image reached keeps the statistics it had.
        if self.weight:
            yield self.layer.running_mean, self.mean / self.weight
            yield self.layer.running_var, self.var / self.weight


class BNRecalibration:
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

    Several paths may take turns, each with an object of its own: what one of
    them leaves in the model does not reach the others.

    Args:
        model: A detector or classifier of the ``mm*`` packages.
        seed: Seed of what is random, such as the sampling of regions: for
            each batch it depends on the seed and the number of the batch.

    Attributes:
        num_images: Number of images so far.
    """

    def __init__(self, model: BaseModel, seed: Sequence[int] = (0,)) -> None:
        self.model = model
        self.seed = tuple(seed)
        self.num_images = 0
        self._num_batches = 0
        self._mode = 'tensor' if losses_are_apart(model) else 'loss'
        model.train()
        layers = active_batch_norms(model).values()
        self._averages = [_Average(one) for one in layers if one.training]

    @torch.no_grad()
    def add(self, batches: Iterable[dict]) -> None:
        """Adds batches, as the training data loader gives them.

        Raises:
            InputError: If a loss is not finite, or an output of the heads:
                so are then the statistics.
        """
        if not self.model.training:
            self.model.train()
        with _statistics_of_each_batch(self._averages) as counts:
            for batch in batches:
                with fixed_random_state((*self.seed, self._num_batches)):
                    data = self.model.data_preprocessor(batch, True)
                    counts.append(len(data['inputs']))
                    require_finite(self.model(**data, mode=self._mode))
                self._num_batches += 1
        self.num_images += sum(counts)

    @torch.no_grad()
    def statistics(self) -> 'BNStatistics':
        """Returns the statistics of all images so far.

        Raises:
            InputError: If there was none.
        """
        if not self.num_images:
            raise InputError(
                'BN recalibration needs at least one image, got none'
            )
        values = [pair for one in self._averages for pair in one.values()]
        return BNStatistics(
            [buffer for buffer, _ in values],
            [value.to(buffer.dtype) for buffer, value in values],
        )


@dataclass(frozen=True)
class BNStatistics:
    """BN statistics of a path, apart from the model.

    Attributes:
        buffers: The model's buffers.
        values: What belongs into them.
    """

    buffers: list[Tensor]
    values: list[Tensor]

    @torch.no_grad()
    def write(self) -> None:
        """Writes them into the model."""
        if self.buffers:
            torch._foreach_copy_(self.buffers, self.values)


def recalibrate_bn(
    model: BaseModel, batches: Iterable[dict], seed: Sequence[int] = (0,)
) -> int:
    """Recomputes the BN statistics of the active path, as a whole.

    Args:
        model: A detector or classifier of the ``mm*`` packages.
        batches: Batches as the training data loader gives them.
        seed: Seed of what is random, see :class:`BNRecalibration`.

    Returns:
        The number of images.

    Raises:
        InputError: If there is no image, or the model does not give numbers.
    """
    recalibration = BNRecalibration(model, seed)
    recalibration.add(batches)
    recalibration.statistics().write()
    return recalibration.num_images


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
