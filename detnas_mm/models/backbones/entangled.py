"""Choices of a block that share the weights of their convolutions."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import conv2d


class CroppedConv2d(nn.Module):
    """A convolution whose weight is the middle part of another's.

    It uses the first output and input channels, and the middle of the kernel,
    of a convolution that is at least as large in all of them. Its checkpoints
    hold the part, as those of any convolution, and loading ignores it. It
    takes the place of ``conv``, which has no bias, and uses the weight of
    ``source``.
    """

    def __init__(self, conv: nn.Conv2d, source: nn.Conv2d) -> None:
        super().__init__()
        self.shared = source.weight
        self.shape = tuple(conv.weight.shape)
        self.kernel_size = conv.kernel_size
        self.settings = (conv.stride, conv.padding, conv.dilation, conv.groups)
        self.register_state_dict_post_hook(_save_part)

    @property
    def weight(self) -> Tensor:
        """The part of the shared weight, a view."""
        out_channels, in_channels, size, _ = self.shape
        start = (self.shared.shape[2] - size) // 2
        middle = slice(start, start + size)
        return self.shared[:out_channels, :in_channels, middle, middle]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C_in, H, W)`` to ``(N, C_out, H, W)`` by the part."""
        return conv2d(x, self.weight, None, *self.settings)

    def _load_from_state_dict(self, *_: object) -> None:
        """The module that owns the weight loads it."""


def _save_part(
    module: CroppedConv2d, state_dict: dict[str, Any], prefix: str, *_: object
) -> None:
    del state_dict[f'{prefix}shared']
    state_dict[f'{prefix}weight'] = module.weight.detach()


def entangle(blocks: Sequence[nn.Module]) -> None:
    """Let the choices of a block share what they can.

    Weight entanglement of AutoFormer (arXiv 2107.00651, Section 3.2), with
    kernels as in Once-for-All (arXiv 1908.09791, Section 3.3). Each
    convolution in ``main`` or ``projection`` that fits into the same layer of
    another choice becomes a part of the largest such. Choices with other
    layers keep their weights, and so do all normalizations.
    """
    layers: dict[tuple, list[tuple[nn.Sequential, int]]] = {}
    for block in blocks:
        for name in ('main', 'projection'):
            branch = getattr(block, name, ())
            for index, layer in enumerate(branch):
                if isinstance(layer, nn.Conv2d) and layer.bias is None:
                    key = (name, len(branch), index, layer.stride)
                    layers.setdefault(key, []).append((branch, index))
    for places in layers.values():
        _share(places)


def _share(places: Sequence[tuple[nn.Sequential, int]]) -> None:
    """Replace layers by parts of larger ones, the largest first."""
    owners: list[nn.Conv2d] = []
    for branch, index in sorted(
        places, key=lambda place: -place[0][place[1]].weight.numel()
    ):
        layer = branch[index]
        source = next((o for o in owners if _holds(o, layer)), None)
        if source is None:
            owners.append(layer)
        else:
            branch[index] = CroppedConv2d(layer, source)


def _holds(source: nn.Conv2d, layer: nn.Conv2d) -> bool:
    sizes = zip(source.weight.shape, layer.weight.shape, strict=True)
    is_depthwise = [conv.groups > 1 for conv in (source, layer)]
    return is_depthwise[0] == is_depthwise[1] and all(a >= b for a, b in sizes)
