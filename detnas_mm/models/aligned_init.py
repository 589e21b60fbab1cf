"""Choices that start as one function, for supernets trained briefly."""

import torch
from torch import nn

from detnas_mm.models.backbones.choice_blocks import ShuffleBlock
from detnas_mm.models.backbones.detnas_supernet import DetNASSupernet
from detnas_mm.registry import WEIGHT_INITIALIZERS
from detnas_mm.structures import SHUFFLE_CHOICES
from detnas_mm.utils.errors import InputError


@WEIGHT_INITIALIZERS.register_module()
class AlignedInit:
    """Lets all choices of a block start as the 3x3 choice.

    Ours, not the paper's: with independent random weights, four blocks of
    stride 2 alone give what follows 256 unrelated inputs, and a supernet
    needs tens of thousands of iterations before it learns anything. Here the
    larger kernels are the 3x3 kernel surrounded by zeros, and the additional
    layers of an Xception block pass on what they take (but for a ReLU, and
    for its stride, which comes earlier); the choices part as they are
    trained. Use it as ``init_cfg=dict(type='detnas_mm.AlignedInit')``
    where there are only a few hundred iterations.
    """

    @torch.no_grad()
    def __call__(self, module: DetNASSupernet) -> None:
        """Draws the weights of a supernet.

        Raises:
            InputError: If the module is no supernet of the paper's choices.
        """
        choices = getattr(
            getattr(module, 'search_space', None), 'choices', None
        )
        if choices != SHUFFLE_CHOICES or not isinstance(
            module, DetNASSupernet
        ):
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
                _align_projections(
                    shuffle_3x3, (shuffle_5x5, shuffle_7x7, xception)
                )


def _convs(layers: nn.Sequential) -> list[nn.Conv2d]:
    return [layer for layer in layers if isinstance(layer, nn.Conv2d)]


def _align_projections(
    source: ShuffleBlock, blocks: tuple[ShuffleBlock, ...]
) -> None:
    for block in blocks:
        _copy_kernels(_convs(source.projection), _convs(block.projection))


def _align_xception(source: list[nn.Conv2d], target: list[nn.Conv2d]) -> None:
    """Of three separable convolutions, one half of each is made neutral."""
    first, depthwise, last = source
    _copy_kernels([first, depthwise, last], [target[1], target[2], target[5]])
    for layer in (target[0], target[3], target[4]):
        nn.init.dirac_(layer.weight, groups=layer.groups)


def _copy_kernels(source: list[nn.Conv2d], target: list[nn.Conv2d]) -> None:
    """Copies kernels into the middle of kernels that may be larger."""
    for one, other in zip(source, target, strict=True):
        margin = (other.kernel_size[0] - one.kernel_size[0]) // 2
        other.weight.copy_(
            nn.functional.pad(one.weight, (margin, margin, margin, margin))
        )
