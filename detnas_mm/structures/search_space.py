"""Search spaces of the paper (Table 1) and the text form of a path."""

import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice, pairwise

import numpy as np

from detnas_mm.utils.errors import InputError

ArchPath = tuple[int, ...]

DIGITS = string.digits + string.ascii_lowercase
SHUFFLE_CHOICES = ('shuffle_3x3', 'shuffle_5x5', 'shuffle_7x7', 'xception')


@dataclass(frozen=True)
class BlockPosition:
    """Position of a searched block in the network.

    Attributes:
        stage: Index of the stage, from 0.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: 2 for the first block of a stage, else 1.
    """

    stage: int
    in_channels: int
    out_channels: int
    stride: int


@dataclass(frozen=True)
class SearchSpace:
    """Networks that a supernet contains: one choice for every block.

    A 3x3 stem convolution of stride 2 is followed by stages of blocks. The
    first block of a stage halves the resolution: the stages have strides 4,
    8, 16, 32, ... (Section 3.3 of the paper).

    Attributes:
        stem_channels: Output channels of the stem.
        stage_channels: Output channels of each stage.
        stage_blocks: Number of blocks of each stage, all searched.
        choices: Names of the choice blocks; digit ``i`` of a path means
            ``choices[i]``.
    """

    stem_channels: int
    stage_channels: tuple[int, ...]
    stage_blocks: tuple[int, ...]
    choices: tuple[str, ...] = SHUFFLE_CHOICES

    def __post_init__(self) -> None:
        for field in ('stage_channels', 'stage_blocks', 'choices'):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        if len(self.stage_channels) != len(self.stage_blocks):
            raise InputError(
                '`stage_channels` and `stage_blocks` must have one entry for '
                f'each stage, got {self.stage_channels} and '
                f'{self.stage_blocks}'
            )
        sizes = (self.stem_channels, *self.stage_channels, *self.stage_blocks)
        if not self.stage_blocks or any(size < 1 for size in sizes):
            raise InputError(
                'channels and numbers of blocks must be at least 1, got '
                f'{asdict(self)}'
            )
        if not 1 <= len(self.choices) <= len(DIGITS):
            raise InputError(
                f'`choices` must name 1 to {len(DIGITS)} choice blocks, got '
                f'{len(self.choices)}'
            )
        widths = (self.stem_channels, *self.stage_channels)
        for previous, channels in pairwise(widths):
            if channels % 2 or channels <= previous:
                raise InputError(
                    'the channels of a stage must be even and more than in '
                    f'the previous stage, got {channels} after {previous}'
                )

    @property
    def num_blocks(self) -> int:
        """Number of searched blocks: the length of a path."""
        return sum(self.stage_blocks)

    @property
    def num_choices(self) -> int:
        """Number of choices of each block."""
        return len(self.choices)

    @property
    def size(self) -> int:
        """Number of paths in the space."""
        return self.num_choices**self.num_blocks

    @cached_property
    def blocks(self) -> tuple[BlockPosition, ...]:
        """Position of each searched block, in execution order."""
        positions = []
        in_channels = self.stem_channels
        stages = zip(self.stage_channels, self.stage_blocks, strict=True)
        for stage, (out_channels, num_blocks) in enumerate(stages):
            for stride in (2, *[1] * (num_blocks - 1)):
                positions.append(
                    BlockPosition(stage, in_channels, out_channels, stride)
                )
                in_channels = out_channels
        return tuple(positions)

    def block_name(self, index: int) -> str:
        """Return a name such as ``'4.2'``: the second block of stage 4."""
        stage = self.blocks[index].stage
        before = sum(self.stage_blocks[:stage])
        return f'{stage + 1}.{index - before + 1}'

    def random_path(self, rng: np.random.Generator) -> ArchPath:
        """Draw a path, all choices of a block with equal probability."""
        return self.random_paths(rng, 1)[0]

    def random_paths(
        self, rng: np.random.Generator, count: int
    ) -> list[ArchPath]:
        """Draw ``count`` paths at once; they may repeat."""
        draws = rng.integers(self.num_choices, size=(count, self.num_blocks))
        return [tuple(row) for row in draws.tolist()]

    def all_paths(self) -> Iterator[ArchPath]:
        """Yield every path of the space, in lexicographic order."""
        shape = (self.num_choices,) * self.num_blocks
        return (tuple(map(int, path)) for path in np.ndindex(shape))

    def validate(self, path: Sequence[int]) -> ArchPath:
        """Check that a path fits this space; return it as a tuple of int."""
        path = tuple(int(choice) for choice in path)
        if len(path) != self.num_blocks:
            raise InputError(
                f'a path of this space has {self.num_blocks} digits (stages '
                f'of {"/".join(map(str, self.stage_blocks))} blocks), got '
                f'{len(path)}: {_digits(path)!r}'
            )
        for block, choice in enumerate(path):
            if not 0 <= choice < self.num_choices:
                raise InputError(
                    f'digit {_digits([choice])!r} of block '
                    f'{self.block_name(block)}, number {block + 1} of '
                    f'{self.num_blocks}, must be one of '
                    f'{_digits(range(self.num_choices))!r}, got path '
                    f'{_digits(path)!r}'
                )
        return path

    def parse(self, text: str) -> ArchPath:
        """Read a path from its digits; spaces between them are ignored."""
        if not isinstance(text, str):
            raise InputError(
                '`text` must be the digits of a path such as '
                f'{_digits([0] * self.num_blocks)!r}, got {text!r}'
            )
        digits = ''.join(text.split())
        for digit in digits:
            if digit not in DIGITS:
                raise InputError(
                    f'{digit!r} is not a choice digit, expected digits of '
                    f'{_digits(range(self.num_choices))!r}, got {text!r}'
                )
        return self.validate([DIGITS.index(digit) for digit in digits])

    def format(self, path: Sequence[int]) -> str:
        """Write a path as digits, one for each block."""
        return _digits(self.validate(path))

    def format_stages(self, path: Sequence[int]) -> str:
        """Write a path as digits with a space between stages."""
        digits = iter(self.format(path))
        return ' '.join(
            ''.join(islice(digits, num_blocks))
            for num_blocks in self.stage_blocks
        )

    def to_dict(self) -> dict:
        """Return the fields as plain data, for records and configs."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }


def _digits(path: Iterable[int]) -> str:
    return ''.join(
        DIGITS[choice] if 0 <= choice < len(DIGITS) else f'<{choice}>'
        for choice in path
    )


SEARCH_SPACES: Mapping[str, SearchSpace] = {
    # Table 1 of the paper; stem widths as in the authors' code.
    'small': SearchSpace(16, (64, 160, 320, 640), (4, 4, 8, 4)),
    'large': SearchSpace(48, (96, 240, 480, 960), (8, 8, 16, 8)),
    'large_3.8g': SearchSpace(72, (172, 432, 864, 1728), (8, 8, 16, 8)),
    # Not in the paper: small enough for the digits data on a CPU.
    'tiny': SearchSpace(16, (32, 64, 128, 256), (2, 2, 4, 2)),
}

# Backbones that the authors published: (search space, digits of the path).
PUBLISHED_PATHS: Mapping[str, tuple[str, str]] = {
    'detnas_fpn_300m': ('small', '2120 2112 33130031 3132'),
    'detnas_retinanet_300m': ('small', '2311 3213 31113320 3333'),
    'detnasnet_1.3g': (
        'large',
        '00312102 03123320 2113202221310333 13333333',
    ),
    'detnasnet_3.8g': (
        'large_3.8g',
        '00312102 03123320 2113202221310333 13333333',
    ),
}


def get_search_space(space: str | Mapping | SearchSpace) -> SearchSpace:
    """Resolve a search space given by name or by its fields."""
    if isinstance(space, SearchSpace):
        return space
    if isinstance(space, Mapping):
        try:
            return SearchSpace(**space)
        except TypeError as error:
            raise InputError(
                '`search_space` must have the fields stem_channels, '
                'stage_channels, stage_blocks and optionally choices, got '
                f'{dict(space)}'
            ) from error
    if space not in SEARCH_SPACES:
        raise InputError(
            f'`search_space` must be one of {", ".join(SEARCH_SPACES)} or a '
            f'dict with the fields of SearchSpace, got {space!r}'
        )
    return SEARCH_SPACES[space]


def space_name(space: SearchSpace) -> str | None:
    """Return the name of a space in ``SEARCH_SPACES``, or None."""
    names = (name for name, known in SEARCH_SPACES.items() if known == space)
    return next(names, None)
