"""Identical initialization of all choices, for short supernet trainings."""

import torch
from torch import nn

from detnas_mm.models.backbones.detnas_supernet import DetNASSupernet
from detnas_mm.registry import WEIGHT_INITIALIZERS
from detnas_mm.structures import SHUFFLE_CHOICES
from detnas_mm.utils.errors import InputError


@WEIGHT_INITIALIZERS.register_module()
class AlignedInit:
    """Initializes all choices of a block like its 3x3 choice.

    Not part of the paper. With independent random weights, four blocks of
    stride 2 alone give the next layers 256 unrelated inputs, and a supernet
    needs tens of thousands of iterations before it learns anything. Here the
    larger kernels are the 3x3 kernel surrounded by zeros, and the additional
    layers of an Xception block are the identity (except for a ReLU, and for
    the stride, which comes earlier). The choices diverge in training. Use it
    as ``init_cfg=dict(type='detnas_mm.AlignedInit')`` for trainings of a few
    hundred iterations.
    """

    @torch.no_grad()
    def __call__(self, module: DetNASSupernet) -> None:
        """Draw the weights of a supernet with the paper's choices."""
        is_supernet = isinstance(module, DetNASSupernet)
        choices = module.search_space.choices if is_supernet else None
        if choices != SHUFFLE_CHOICES:
            raise InputError(
                'AlignedInit is for a DetNASSupernet with the choices '
                f'{", ".join(SHUFFLE_CHOICES)}, got '
                f'{type(module).__name__} with {choices}'
            )
        for layer in module.modules():
            if hasattr(layer, 'reset_parameters'):
                layer.reset_parameters()
        for shuffle_3x3, shuffle_5x5, shuffle_7x7, xception in module.blocks:
            for block in (shuffle_5x5, shuffle_7x7):
                _copy_kernels(_convs(shuffle_3x3.main), _convs(block.main))
            _align_xception(_convs(shuffle_3x3.main), _convs(xception.main))
            if shuffle_3x3.stride == 2:
                for block in (shuffle_5x5, shuffle_7x7, xception):
                    _copy_kernels(
                        _convs(shuffle_3x3.projection),
                        _convs(block.projection),
                    )


def _convs(layers: nn.Sequential) -> list[nn.Conv2d]:
    return [layer for layer in layers if isinstance(layer, nn.Conv2d)]


def _align_xception(source: list[nn.Conv2d], target: list[nn.Conv2d]) -> None:
    """Make one half of each of three separable convolutions the identity."""
    _copy_kernels(source, [target[1], target[2], target[5]])
    for layer in (target[0], target[3], target[4]):
        nn.init.dirac_(layer.weight, groups=layer.groups)


def _copy_kernels(source: list[nn.Conv2d], target: list[nn.Conv2d]) -> None:
    """Copy kernels into the middle of kernels that may be larger."""
    for old, new in zip(source, target, strict=True):
        margin = (new.kernel_size[0] - old.kernel_size[0]) // 2
        new.weight.copy_(nn.functional.pad(old.weight, (margin,) * 4))
