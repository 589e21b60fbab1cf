"""The candidate operations of a block (Section 3.3 of the paper)."""

from collections.abc import Callable, Iterator

import torch
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

from detnas_mm.models.backbones.custom_blocks import build_custom_block
from detnas_mm.registry import CHOICE_BLOCKS
from detnas_mm.structures import SearchSpace
from detnas_mm.utils.errors import InputError

SHUFFLES = ('grouped', 'interleaved')

# (input channels, middle channels, output channels, kernel size of the
# depthwise convolutions, stride, norm_cfg) -> layers in execution order.
MainBranch = Callable[[int, int, int, int, int, dict], Iterator[nn.Module]]


def pointwise(
    in_channels: int, out_channels: int, norm_cfg: dict
) -> Iterator[nn.Module]:
    """Yield a 1x1 convolution, normalization and ReLU."""
    yield nn.Conv2d(in_channels, out_channels, 1, bias=False)
    yield build_norm_layer(norm_cfg, out_channels)[1]
    yield nn.ReLU(inplace=True)


def depthwise(
    channels: int, kernel_size: int, stride: int, norm_cfg: dict
) -> Iterator[nn.Module]:
    """Yield a depthwise convolution and normalization."""
    yield nn.Conv2d(
        channels,
        channels,
        kernel_size,
        stride=stride,
        padding=kernel_size // 2,
        groups=channels,
        bias=False,
    )
    yield build_norm_layer(norm_cfg, channels)[1]


def shuffle_main(
    in_channels: int,
    mid_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int,
    norm_cfg: dict,
) -> Iterator[nn.Module]:
    """Yield the main branch of a ShuffleNetV2 block."""
    yield from pointwise(in_channels, mid_channels, norm_cfg)
    yield from depthwise(mid_channels, kernel_size, stride, norm_cfg)
    yield from pointwise(mid_channels, out_channels, norm_cfg)


def xception_main(
    in_channels: int,
    mid_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int,
    norm_cfg: dict,
) -> Iterator[nn.Module]:
    """Yield the main branch of an Xception block: three separable convs."""
    yield from depthwise(in_channels, kernel_size, stride, norm_cfg)
    yield from pointwise(in_channels, mid_channels, norm_cfg)
    yield from depthwise(mid_channels, kernel_size, 1, norm_cfg)
    yield from pointwise(mid_channels, mid_channels, norm_cfg)
    yield from depthwise(mid_channels, kernel_size, 1, norm_cfg)
    yield from pointwise(mid_channels, out_channels, norm_cfg)


def split_channels(x: Tensor, shuffle: str) -> tuple[Tensor, Tensor]:
    """Shuffle the channels and split them into two halves.

    Of 8 channels, ``'grouped'`` (the authors' supernets and ImageNet code)
    passes 0, 4, 1, 5 through and gives 2, 6, 3, 7 to the main branch;
    ``'interleaved'`` (their published final nets) passes 0, 2, 4, 6 and
    gives 1, 3, 5, 7. Both are equivalent when trained from scratch, but
    weights trained with one give wrong results with the other.

    Args:
        x: Features of shape ``(N, C, H, W)``.
        shuffle: ``'grouped'`` or ``'interleaved'``.

    Returns:
        The half that passes through and the input of the main branch, each
        of shape ``(N, C / 2, H, W)``.
    """
    if shuffle == 'interleaved':
        return x[:, 0::2], x[:, 1::2]
    num, channels, height, width = x.shape
    if x.is_contiguous(memory_format=torch.channels_last):
        # The same shuffle, but the result keeps the memory format.
        x = x.permute(0, 2, 3, 1).unflatten(3, (2, channels // 2))
        x = x.transpose(3, 4).flatten(3).permute(0, 3, 1, 2)
    else:
        x = x.reshape(num, 2, channels // 2, height, width)
        x = x.transpose(1, 2).reshape(num, channels, height, width)
    passed, taken = x.chunk(2, dim=1)
    return passed, taken


class ShuffleBlock(nn.Module):
    """A ShuffleNetV2 block with a given main branch.

    With stride 1, half of the (shuffled) channels passes through and half
    goes through the main branch. With stride 2, all channels go through the
    main branch and through a projection.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: 1 or 2.
        kernel_size: Kernel size of the depthwise convolutions.
        main_branch: Function that yields the layers of the main branch.
        shuffle: See :func:`split_channels`.
        norm_cfg: Config of the normalization.
        projected_channels: Output channels of the projection. Defaults to
            the number of input channels, as in the authors' code.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        kernel_size: int,
        main_branch: MainBranch,
        shuffle: str,
        norm_cfg: dict,
        projected_channels: int | None = None,
    ) -> None:
        super().__init__()
        projected = projected_channels or in_channels
        self.stride = stride
        self.shuffle = shuffle
        mid = out_channels // 2
        taken, given = mid, mid
        if stride == 2:
            taken, given = in_channels, out_channels - projected
        self.main = nn.Sequential(
            *main_branch(taken, mid, given, kernel_size, stride, norm_cfg)
        )
        if stride == 2:
            self.projection = nn.Sequential(
                *depthwise(in_channels, kernel_size, 2, norm_cfg),
                *pointwise(in_channels, projected, norm_cfg),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C_in, H, W)`` to ``(N, C_out, H/stride, W/stride)``."""
        if self.stride == 2:
            return torch.cat((self.projection(x), self.main(x)), dim=1)
        passed, taken = split_channels(x, self.shuffle)
        return torch.cat((passed, self.main(taken)), dim=1)


@CHOICE_BLOCKS.register_module()
def shuffle_3x3(**settings: object) -> ShuffleBlock:
    """Build a ShuffleNetV2 block."""
    return ShuffleBlock(kernel_size=3, main_branch=shuffle_main, **settings)


@CHOICE_BLOCKS.register_module()
def shuffle_5x5(**settings: object) -> ShuffleBlock:
    """Build a ShuffleNetV2 block with a 5x5 depthwise convolution."""
    return ShuffleBlock(kernel_size=5, main_branch=shuffle_main, **settings)


@CHOICE_BLOCKS.register_module()
def shuffle_7x7(**settings: object) -> ShuffleBlock:
    """Build a ShuffleNetV2 block with a 7x7 depthwise convolution."""
    return ShuffleBlock(kernel_size=7, main_branch=shuffle_main, **settings)


@CHOICE_BLOCKS.register_module()
def xception(**settings: object) -> ShuffleBlock:
    """Build a block with three separable 3x3 convolutions."""
    return ShuffleBlock(kernel_size=3, main_branch=xception_main, **settings)


def build_block(
    space: SearchSpace,
    index: int,
    choice: int,
    *,
    shuffle: str,
    norm_cfg: dict,
) -> nn.Module:
    """Build one choice of one block of a search space.

    Raises:
        InputError: See :func:`build_choice_block`.
    """
    position = space.blocks[index]
    try:
        return build_choice_block(
            space.choices[choice],
            in_channels=position.in_channels,
            out_channels=position.out_channels,
            stride=position.stride,
            shuffle=shuffle,
            norm_cfg=norm_cfg,
        )
    except InputError as error:
        name = space.block_name(index)
        raise InputError(f'block {name}: {error}') from error


def build_choice_block(
    name: str,
    *,
    in_channels: int,
    out_channels: int,
    stride: int,
    shuffle: str,
    norm_cfg: dict,
) -> nn.Module:
    """Build the choice block that is registered under a name.

    Raises:
        InputError: If the name or the shuffle is unknown, or a user's block
            does not build or has an output of another shape.
    """
    build = CHOICE_BLOCKS.get(name)
    if build is None:
        raise InputError(
            f'{name!r} is not a registered choice block, expected one of '
            f'{", ".join(CHOICE_BLOCKS.module_dict)}; register yours in '
            'detnas_mm.registry.CHOICE_BLOCKS'
        )
    if shuffle not in SHUFFLES:
        raise InputError(
            f'`shuffle` must be one of {", ".join(SHUFFLES)}, got {shuffle!r}'
        )
    settings = dict(
        in_channels=in_channels,
        out_channels=out_channels,
        stride=stride,
        shuffle=shuffle,
        norm_cfg=norm_cfg,
    )
    if str(build.__module__).startswith('detnas_mm.'):
        return build(**settings)
    return build_custom_block(name, build, settings)
