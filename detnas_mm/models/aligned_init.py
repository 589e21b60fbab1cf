"""Identical initialization of all choices, for short supernet trainings."""

import torch
from torch import nn

from detnas_mm.models.backbones.choice_blocks import ShuffleBlock
from detnas_mm.models.backbones.detnas_supernet import DetNASSupernet
from detnas_mm.models.backbones.entangled import CroppedConv2d
from detnas_mm.registry import WEIGHT_INITIALIZERS
from detnas_mm.structures import SHUFFLE_CHOICES, SKIPS
from detnas_mm.utils.errors import InputError

_SHUFFLES = SHUFFLE_CHOICES[:3]
_KNOWN = (*SHUFFLE_CHOICES, *SKIPS)


@WEIGHT_INITIALIZERS.register_module()
class AlignedInit:
    """Initializes all choices of a block as the same function.

    Not part of the paper. With independent random weights, four blocks of
    stride 2 alone give the next layers 256 unrelated inputs, and a supernet
    needs tens of thousands of iterations before it learns anything. Here each
    choice begins as the smallest shuffle block: larger kernels are its kernel
    surrounded by zeros, additional inner channels have no effect yet, and the
    additional layers of an Xception block are the identity (except for a
    ReLU, and for the stride, which comes earlier). ``skip`` and
    ``shuffle_skip`` have no weights.
    The choices diverge in training. Use it as
    ``init_cfg=dict(type='detnas_mm.AlignedInit')`` for trainings of a few
    hundred iterations.
    """

    @torch.no_grad()
    def __call__(self, module: DetNASSupernet) -> None:
        """Align a supernet with the choices of this package.

        The smallest shuffle block of each position keeps its weights.
        """
        is_supernet = isinstance(module, DetNASSupernet)
        space = module.search_space if is_supernet else None
        names = space and [choice.type for choice in space.choice_blocks]
        if not names or not set(names) <= set(_KNOWN):
            raise InputError(
                'AlignedInit is for a DetNASSupernet with the choices '
                f'{", ".join(_KNOWN)}, got {type(module).__name__} with '
                f'{space and ", ".join(space.choice_names)}'
            )
        for choices, allowed in zip(
            module.blocks, space.allowed_choices, strict=True
        ):
            shuffles = [choices[i] for i in allowed if names[i] in _SHUFFLES]
            xceptions = [choices[i] for i in allowed if names[i] == 'xception']
            _align(shuffles, xceptions)


def _align(
    shuffles: list[ShuffleBlock], xceptions: list[ShuffleBlock]
) -> None:
    """Give the choices of a block the weights of its smallest shuffle."""
    if not shuffles:
        return
    smallest = min(shuffles, key=_size)
    for block in (*shuffles, *xceptions):
        if block is smallest:
            continue
        target = _convs(block.main)
        if block in xceptions:
            # One half of each of three separable convolutions.
            for layer in (target[0], target[3], target[4]):
                nn.init.dirac_(layer.weight, groups=layer.groups)
            target = [target[1], target[2], target[5]]
        _copy_kernels(_convs(smallest.main), target)
        if smallest.stride == 2:
            _copy_kernels(
                _convs(smallest.projection), _convs(block.projection)
            )


def _size(block: ShuffleBlock) -> int:
    return sum(layer.weight.numel() for layer in _convs(block.main))


def _convs(layers: nn.Sequential) -> list[nn.Conv2d | CroppedConv2d]:
    kinds = nn.Conv2d | CroppedConv2d
    return [layer for layer in layers if isinstance(layer, kinds)]


def _copy_kernels(source: list[nn.Conv2d], target: list[nn.Conv2d]) -> None:
    """Copy kernels into the first channels of layers that may be larger.

    Additional output channels keep their weights, additional input channels
    get zeros.
    """
    for old, new in zip(source, target, strict=True):
        out_channels, in_channels, size, _ = old.weight.shape
        margin = (new.kernel_size[0] - size) // 2
        if margin < 0 or any(
            larger < smaller
            for larger, smaller in zip(
                new.weight.shape, old.weight.shape, strict=True
            )
        ):
            raise InputError(
                'AlignedInit needs one shuffle block that is part of all '
                f'others: a layer of shape {tuple(new.weight.shape)} cannot '
                f'hold one of {tuple(old.weight.shape)}'
            )
        # Both may be parts of one weight.
        kernel = old.weight.clone()
        new.weight[:out_channels] = 0
        new.weight[:, in_channels:] = 0
        middle = slice(margin, margin + size)
        new.weight[:out_channels, :in_channels, middle, middle] = kernel
