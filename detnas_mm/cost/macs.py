"""Multiply-adds and parameters of a path, from a table.

Counting convention, as in the paper and in the authors' code: one
multiply-add (MAC) for each product of a convolution or linear layer;
biases, batch normalization, activations and pooling are not counted.
Parameters are all weights and biases, including batch normalization, but
not its running statistics.
"""

from functools import lru_cache
from itertools import pairwise
from numbers import Integral

from detnas_mm.structures import (
    SKIPS,
    ArchPath,
    BlockPosition,
    Choice,
    Cost,
    CostTable,
    SearchSpace,
)
from detnas_mm.utils.errors import InputError

ImageSize = tuple[int, int]


def conv_cost(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    output_size: ImageSize,
    groups: int = 1,
    bias: bool = False,
) -> Cost:
    """Count a convolution that is followed by batch normalization."""
    weights = out_channels * (in_channels // groups) * kernel_size**2
    height, width = output_size
    batch_norm = 2 * out_channels
    params = weights + out_channels * bias + batch_norm
    return Cost(macs=weights * height * width, params=params)


def halved(size: ImageSize) -> ImageSize:
    """Return the output size of a k x k convolution, stride 2, pad k//2."""
    height, width = size
    return (height + 1) // 2, (width + 1) // 2


def _depthwise_cost(channels: int, kernel: int, output: ImageSize) -> Cost:
    return conv_cost(channels, channels, kernel, output, groups=channels)


def _main_channels(
    block: BlockPosition, expansion: float
) -> tuple[int, int, int]:
    """Return input, inner and output channels of the main branch."""
    half = block.out_channels // 2
    mid = max(round(half * expansion), 1)
    if block.stride == 1:
        return half, mid, half
    return block.in_channels, mid, block.out_channels - block.in_channels


def _projection_cost(
    block: BlockPosition, kernel_size: int, output: ImageSize
) -> Cost:
    if block.stride == 1:
        return Cost(0, 0)
    channels = block.in_channels
    return _depthwise_cost(channels, kernel_size, output) + conv_cost(
        channels, channels, 1, output
    )


def shuffle_block_cost(
    block: BlockPosition,
    input_size: ImageSize,
    kernel_size: int,
    expansion: float = 1,
) -> Cost:
    """Count a ShuffleNetV2 block with its projection branch."""
    output = input_size if block.stride == 1 else halved(input_size)
    in_channels, mid, out = _main_channels(block, expansion)
    return (
        conv_cost(in_channels, mid, 1, input_size)
        + _depthwise_cost(mid, kernel_size, output)
        + conv_cost(mid, out, 1, output)
        + _projection_cost(block, kernel_size, output)
    )


def xception_block_cost(
    block: BlockPosition, input_size: ImageSize, expansion: float = 1
) -> Cost:
    """Count an Xception block: three depthwise-separable convolutions."""
    output = input_size if block.stride == 1 else halved(input_size)
    in_channels, mid, out = _main_channels(block, expansion)
    cost = _projection_cost(block, 3, output)
    for channels, next_channels in pairwise((in_channels, mid, mid, out)):
        cost += _depthwise_cost(channels, 3, output)
        cost += conv_cost(channels, next_channels, 1, output)
    return cost


_KERNELS = {'shuffle_3x3': 3, 'shuffle_5x5': 5, 'shuffle_7x7': 7}
# The choice blocks whose costs are known without building them.
COUNTED_CHOICES = frozenset((*_KERNELS, 'xception', *SKIPS))


def choice_cost(
    choice: Choice, block: BlockPosition, input_size: ImageSize
) -> Cost:
    """Count a choice block of this package."""
    if choice.type not in COUNTED_CHOICES:
        raise InputError(
            f'no cost formula for the choice block {choice.type!r}, only for '
            f'{", ".join(sorted(COUNTED_CHOICES))}; count it on the built '
            'network instead (detnas_mm.models.measured_cost_table)'
        )
    if choice.type in SKIPS:
        return Cost(0, 0)
    expansion = dict(choice.settings).get('expansion', 1)
    if choice.type == 'xception':
        return xception_block_cost(block, input_size, expansion)
    kernel_size = _KERNELS[choice.type]
    return shuffle_block_cost(block, input_size, kernel_size, expansion)


def cost_table(
    space: SearchSpace, input_size: ImageSize = (224, 224)
) -> CostTable:
    """Return the exact costs of a space of the paper's choice blocks."""
    return _cost_table(space, read_size(input_size))


def read_size(size: object) -> ImageSize:
    """Read a height and a width."""
    try:
        height, width = size
    except (TypeError, ValueError):
        height = width = 0
    if not all(isinstance(n, Integral) and n > 0 for n in (height, width)):
        raise InputError(
            '`input_size` must be a height and a width of at least 1, got '
            f'{size}'
        )
    return height, width


@lru_cache(maxsize=128)
def _cost_table(space: SearchSpace, input_size: ImageSize) -> CostTable:
    size = halved(input_size)
    stem = conv_cost(3, space.stem_channels, 3, size, bias=True)
    rows = []
    for block, allowed in zip(
        space.blocks, space.allowed_choices, strict=True
    ):
        costs = {
            digit: choice_cost(space.choice_blocks[digit], block, size)
            for digit in allowed
        }
        rows.append(space.complete_row(costs))
        size = size if block.stride == 1 else halved(size)
    return CostTable(stem, tuple(rows))


def backbone_macs(
    space: SearchSpace, path: ArchPath, input_size: ImageSize = (224, 224)
) -> int:
    """Return the multiply-adds of the backbone of a path, for one image."""
    table = cost_table(space, input_size)
    return table.macs(space.validate(path))


def backbone_params(space: SearchSpace, path: ArchPath) -> int:
    """Return the number of parameters of the backbone of a path."""
    return cost_table(space).params(space.validate(path))
