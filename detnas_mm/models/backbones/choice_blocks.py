"""The candidate operations of a block (Section 3.3 of the paper)."""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain

import torch
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

from detnas_mm.registry import CHOICE_BLOCKS
from detnas_mm.structures import SHUFFLE_CHOICES, SearchSpace
from detnas_mm.utils.errors import InputError

SHUFFLES = ('grouped', 'interleaved')
# Choice blocks of MMRazor's DetNAS. With stride 2 both of their branches are
# equally wide, as in ShuffleNetV2; the authors' projection keeps the number
# of input channels. With stride 1 there is no difference.
MMRAZOR_CHOICES = tuple(f'even_{name}' for name in SHUFFLE_CHOICES)
# Height and width of the features on which a user's block is tried: enough
# for any kernel and padding.
_TRIAL_SIZE = 32

# ((input channels, middle channels, output channels), kernel size of the
# depthwise convolutions, stride, norm_cfg) -> layers in execution order.
MainBranch = Callable[
    [tuple[int, int, int], int, int, dict], Iterator[nn.Module]
]


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
    channels: tuple[int, int, int],
    kernel_size: int,
    stride: int,
    norm_cfg: dict,
) -> Iterator[nn.Module]:
    """Yield the main branch of a ShuffleNetV2 block."""
    in_channels, mid_channels, out_channels = channels
    yield from pointwise(in_channels, mid_channels, norm_cfg)
    yield from depthwise(mid_channels, kernel_size, stride, norm_cfg)
    yield from pointwise(mid_channels, out_channels, norm_cfg)


def xception_main(
    channels: tuple[int, int, int],
    kernel_size: int,
    stride: int,
    norm_cfg: dict,
) -> Iterator[nn.Module]:
    """Yield the main branch of an Xception block: three separable convs."""
    in_channels, mid_channels, out_channels = channels
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
        expansion: Factor on the inner channels of the main branch, which are
            half of the output channels in ShuffleNetV2.
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
        expansion: float = 1,
    ) -> None:
        super().__init__()
        if not expansion > 0:
            raise InputError(
                f'`expansion` must be more than 0, got {expansion}'
            )
        projected = projected_channels or in_channels
        self.stride = stride
        self.shuffle = shuffle
        half = out_channels // 2
        mid = max(round(half * expansion), 1)
        channels = (half, mid, half)
        if stride == 2:
            channels = (in_channels, mid, out_channels - projected)
        self.main = nn.Sequential(
            *main_branch(channels, kernel_size, stride, norm_cfg)
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


class Skip(nn.Identity):
    """No block: paths that take it differ in depth."""

    def __init__(self, stride: int, **_: object) -> None:
        super().__init__()
        _require_stride_1('skip', stride)


class ShuffleSkip(nn.Module):
    """No block, but the shuffle of one.

    It leaves each channel where a shuffle block leaves it. Behind an identity
    the next blocks would find other channels in each place, and a supernet
    begins to learn much later.
    """

    def __init__(self, stride: int, shuffle: str, **_: object) -> None:
        super().__init__()
        _require_stride_1('shuffle_skip', stride)
        self.shuffle = shuffle

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to the same shape."""
        return torch.cat(split_channels(x, self.shuffle), dim=1)


def _require_stride_1(name: str, stride: int) -> None:
    if stride != 1:
        raise InputError(
            f'the choice {name!r} exists at stride 1 alone, got {stride}'
        )


def _register(name: str, kernel_size: int, main_branch: MainBranch) -> None:
    """Register a block of the authors and its variant of MMRazor."""

    def build(**settings: object) -> ShuffleBlock:
        return ShuffleBlock(
            kernel_size=kernel_size, main_branch=main_branch, **settings
        )

    def build_even(**settings: object) -> ShuffleBlock:
        half = settings['out_channels'] // 2
        return build(projected_channels=half, **settings)

    CHOICE_BLOCKS.register_module(name=name, module=build)
    CHOICE_BLOCKS.register_module(name=f'even_{name}', module=build_even)


_register('shuffle_3x3', 3, shuffle_main)
_register('shuffle_5x5', 5, shuffle_main)
_register('shuffle_7x7', 7, shuffle_main)
_register('xception', 3, xception_main)
CHOICE_BLOCKS.register_module(name='skip', module=Skip)
CHOICE_BLOCKS.register_module(name='shuffle_skip', module=ShuffleSkip)


def build_block(
    space: SearchSpace, index: int, choice: int, **settings: object
) -> nn.Module:
    """Build one choice of one block of a search space.

    ``settings`` are ``shuffle`` and ``norm_cfg``.
    """
    position = space.blocks[index]
    config = space.choice_blocks[choice]
    try:
        return build_choice_block(
            config.type,
            in_channels=position.in_channels,
            out_channels=position.out_channels,
            stride=position.stride,
            **settings,
            **dict(config.settings),
        )
    except InputError as error:
        name = space.block_name(index)
        raise InputError(f'block {name}: {error}') from error


def build_choice_block(name: str, **settings: object) -> nn.Module:
    """Build the choice block that is registered under a name.

    ``settings`` are ``in_channels``, ``out_channels``, ``stride``,
    ``shuffle`` and ``norm_cfg``, all of them, and those of the choice.
    """
    build = CHOICE_BLOCKS.get(name)
    if build is None:
        raise InputError(
            f'{name!r} is not a registered choice block, expected one of '
            f'{", ".join(CHOICE_BLOCKS.module_dict)}; register yours in '
            'detnas_mm.registry.CHOICE_BLOCKS'
        )
    if settings['shuffle'] not in SHUFFLES:
        raise InputError(
            f'`shuffle` must be one of {", ".join(SHUFFLES)}, got '
            f'{settings["shuffle"]!r}'
        )
    if str(build.__module__).startswith('detnas_mm.'):
        try:
            return build(**settings)
        except TypeError as error:
            raise InputError(
                f'the choice block {name!r} does not take its settings: '
                f'{error}'
            ) from error
    return _build_custom_block(name, build, settings)


def _build_custom_block(
    name: str, build: Callable[..., nn.Module], settings: Mapping
) -> nn.Module:
    """Build a user's block and run it once, before anything is trained."""
    size = _TRIAL_SIZE // settings['stride']
    given = (1, settings['in_channels'], _TRIAL_SIZE, _TRIAL_SIZE)
    expected = (1, settings['out_channels'], size, size)
    cause = None
    try:
        block = build(**settings)
        output = _try_block(block, given)
    except Exception as error:
        cause = error
        text = ' '.join(str(error).split())
        problem = f'failed with {type(error).__name__} "{text}"'
    else:
        if isinstance(output, Tensor) and output.shape == expected:
            return block
        shape = tuple(getattr(output, 'shape', ())) or type(output).__name__
        problem = f'returned {shape}'
    raise InputError(
        f'choice block {name!r} {problem}; called with '
        f'{", ".join(f"{key}={value}" for key, value in settings.items())} '
        f'it must build a module that maps {given} to {expected}, see "A new '
        'block" in docs/own_search_space.md'
    ) from cause


def _try_block(block: nn.Module, shape: tuple[int, ...]) -> object:
    """Run a block; its buffers and the random state stay unchanged."""
    if not isinstance(block, nn.Module):
        raise TypeError(f'it is a {type(block).__name__}, not a Module')
    tensor = next(chain(block.parameters(), block.buffers()), torch.empty(0))
    x = torch.zeros(shape, device=tensor.device)
    buffers = {key: value.clone() for key, value in block.named_buffers()}
    devices = [x.device] if x.is_cuda else []
    modes = {module: module.training for module in block.modules()}
    block.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices):
            return torch.func.functional_call(block, buffers, (x,))
    finally:
        for module, mode in modes.items():
            module.training = mode
