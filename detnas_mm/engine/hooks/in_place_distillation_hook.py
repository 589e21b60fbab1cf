"""Teaches each path the features of the largest one."""

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from detnas_mm.models import (
    DetNASSupernet,
    extreme_paths,
    find_supernet,
    unwrap_model,
)
from detnas_mm.registry import HOOKS


@HOOKS.register_module()
class InPlaceDistillationHook(Hook):
    """Adds the distance to the features of the largest path to the losses.

    In-place distillation (Universally Slimmable Networks, arXiv 1903.05134,
    Section 3.3) on the backbone's features, so that it serves classifiers
    and detectors. In each iteration the path with the most MACs runs on the
    same images, without gradients; ``loss_distillation`` is the mean squared
    difference by the variance of its features, averaged over the stages, times
    ``weight``. Combine it with ``SinglePathSamplingHook(sandwich=True)``.
    """

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def before_train(self, runner: Runner) -> None:
        """Observes the supernet and the losses of the model."""
        supernet = find_supernet(runner.model)
        self._teacher = extreme_paths(supernet.search_space)[1]
        self._loss: Tensor | None = None
        self._handles = [
            supernet.register_forward_hook(self._compare),
            unwrap_model(runner.model).register_forward_hook(
                self._add_loss, with_kwargs=True
            ),
        ]

    def after_train(self, runner: Runner) -> None:
        """Leaves the model as it was."""
        for handle in self._handles:
            handle.remove()

    def _compare(
        self, supernet: DetNASSupernet, args: tuple, features: tuple
    ) -> None:
        # Not in validation, nor when BN statistics are recomputed.
        if not supernet.training or not torch.is_grad_enabled():
            return
        with torch.no_grad(), supernet.activate(self._teacher):
            targets = supernet.forward(*args)
        distances = [
            _relative_distance(own.float(), target.float())
            for own, target in zip(features, targets, strict=True)
        ]
        self._loss = self.weight * sum(distances) / len(distances)

    def _add_loss(
        self, model: nn.Module, args: tuple, kwargs: dict, losses: Any
    ) -> Any:
        if self._loss is None:
            return losses
        loss, self._loss = self._loss, None
        return {**losses, 'loss_distillation': loss}


def _relative_distance(features: Tensor, targets: Tensor) -> Tensor:
    return (features - targets).square().mean() / targets.var().clamp(min=1e-6)
