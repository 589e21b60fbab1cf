"""Search spaces of the paper (Table 1) and the text form of a path."""

import math
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise, product
from typing import TypeVar

import numpy as np

from detnas_mm.utils.errors import InputError

ArchPath = tuple[int, ...]
T = TypeVar('T')

DIGITS = string.digits + string.ascii_lowercase
SHUFFLE_CHOICES = ('shuffle_3x3', 'shuffle_5x5', 'shuffle_7x7', 'xception')
# Choice blocks that keep their input, which a block of stride 2 cannot.
SKIPS = ('skip', 'shuffle_skip')


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
class Choice:
    """A choice block with settings of its own.

    Attributes:
        type: Name of the choice block in its registry.
        settings: Further settings of the block, by name.
        stride: Stride of the blocks that have this choice; ``None``: all
            blocks have it.
    """

    type: str
    settings: tuple[tuple[str, object], ...] = ()
    stride: int | None = None

    @classmethod
    def from_config(cls, config: 'str | Mapping | Choice') -> 'Choice':
        """Read a name, or ``dict(type=name, **settings)``."""
        if isinstance(config, Choice):
            return config
        if isinstance(config, str):
            config = dict(type=config)
        settings = dict(config)
        name = settings.pop('type', None)
        default = 1 if name in SKIPS else None
        stride = settings.pop('stride', default)
        choice = cls(name, tuple(sorted(settings.items())), stride)
        is_plain = all(
            isinstance(value, (str, int, float)) for value in settings.values()
        )
        if not isinstance(name, str) or stride not in (None, 1, 2):
            raise InputError(
                'a choice must be the name of a choice block or a dict of '
                '`type`, settings of the block and optionally `stride`, 1 or '
                f'2, of the blocks that have it; got {config!r}'
            )
        if not is_plain:
            raise InputError(
                'the settings of a choice must be numbers or text, got '
                f'{config!r}'
            )
        return choice

    def to_config(self) -> str | dict:
        """Return the shortest config: a name if there is nothing else."""
        if self == Choice.from_config(self.type):
            return self.type
        stride = {} if self.stride is None else {'stride': self.stride}
        return {'type': self.type, **dict(self.settings), **stride}

    def __str__(self) -> str:
        settings = ', '.join(f'{key}={value}' for key, value in self.settings)
        return f'{self.type}({settings})' if settings else self.type


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
        choices: The choice blocks: names, or ``dict(type=name, **settings)``
            for those with settings. Digit ``i`` of a path means
            ``choices[i]``. A choice with the setting ``stride`` exists in
            blocks of that stride alone; ``'skip'``, the identity, in blocks
            of stride 1.
    """

    stem_channels: int
    stage_channels: tuple[int, ...]
    stage_blocks: tuple[int, ...]
    choices: tuple[str | Choice, ...] = SHUFFLE_CHOICES

    def __post_init__(self) -> None:
        choices = []
        for choice in map(Choice.from_config, self.choices):
            config = choice.to_config()
            choices.append(config if isinstance(config, str) else choice)
        object.__setattr__(self, 'choices', tuple(choices))
        for field in ('stage_channels', 'stage_blocks'):
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
                f'{self.to_dict()}'
            )
        if not 1 <= len(self.choices) <= len(DIGITS):
            raise InputError(
                f'`choices` must name 1 to {len(DIGITS)} choice blocks, got '
                f'{len(self.choices)}'
            )
        if not all(self.allowed_choices):
            raise InputError(
                'each block must have a choice of its stride, got the choices '
                f'{self.to_dict()["choices"]}'
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

    @cached_property
    def choice_blocks(self) -> tuple[Choice, ...]:
        """The choices with their settings, by digit."""
        return tuple(map(Choice.from_config, self.choices))

    @property
    def choice_names(self) -> tuple[str, ...]:
        """Names of the choices with their settings, by digit."""
        return tuple(map(str, self.choice_blocks))

    @cached_property
    def allowed_choices(self) -> tuple[tuple[int, ...], ...]:
        """The digits that each block has, in ascending order."""
        return tuple(
            tuple(
                digit
                for digit, choice in enumerate(self.choice_blocks)
                if choice.stride in (None, block.stride)
            )
            for block in self.blocks
        )

    @property
    def size(self) -> int:
        """Number of paths in the space."""
        return math.prod(map(len, self.allowed_choices))

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

    def random_path(
        self, rng: np.random.Generator, concentration: float | None = None
    ) -> ArchPath:
        """Draw a path; see :meth:`random_paths`."""
        return self.random_paths(rng, 1, concentration)[0]

    def random_paths(
        self,
        rng: np.random.Generator,
        count: int,
        concentration: float | None = None,
    ) -> list[ArchPath]:
        """Draw ``count`` paths at once; they may repeat.

        Args:
            rng: The generator.
            count: Number of paths.
            concentration: By default all choices of a block have equal
                probability, as in the paper. Blocks drawn like that differ
                little between paths when there are many. With a
                concentration, the probabilities of each stage are drawn
                first, from a symmetric Dirichlet distribution: the lower it
                is, the more a stage repeats one choice.
        """
        digits = self.random_digits(rng, count, concentration)
        return list(map(tuple, digits.tolist()))

    def fair_paths(self, rng: np.random.Generator) -> list[ArchPath]:
        """Draw one path per choice that together take all choices once.

        A block that has fewer choices than the others takes some twice.
        """
        orders = [
            np.resize(rng.permutation(allowed), self.num_choices)
            for allowed in self.allowed_choices
        ]
        return list(map(tuple, np.transpose(orders).tolist()))

    def random_digits(
        self,
        rng: np.random.Generator,
        count: int,
        concentration: float | None = None,
    ) -> np.ndarray:
        """Draw paths as :meth:`random_paths`, in one array.

        Returns:
            Digits, of shape ``(count, num_blocks)``.
        """
        if concentration is None:
            counts, size = self._counts, (count, self.num_blocks)
            ranks = rng.integers(counts, size=size)
            return self._digits_of_ranks(ranks)
        require_concentration(concentration)
        shape = (count, len(self.stage_blocks), self.num_choices)
        weights = rng.standard_gamma(concentration, shape)
        weights += np.finfo(float).tiny  # a low concentration gives zeros
        uniform = rng.random((count, self.num_blocks))
        ranks = np.empty(uniform.shape, dtype=int)
        for index, block in enumerate(self.blocks):
            allowed = self.allowed_choices[index]
            ends = weights[:, block.stage, allowed].cumsum(axis=1)
            level = uniform[:, index, None] * ends[:, -1:]
            ranks[:, index] = (level >= ends[:, :-1]).sum(axis=1)
        return self._digits_of_ranks(ranks)

    def digits_at(self, numbers: np.ndarray) -> np.ndarray:
        """Return the paths of some numbers, from 0 to ``size - 1``.

        Returns:
            Digits, of shape ``(N, num_blocks)``; each number gives another
            path.
        """
        places = np.cumprod([1, *self._counts[:-1]])
        ranks = numbers[:, None] // places % self._counts
        return self._digits_of_ranks(ranks)

    @cached_property
    def _counts(self) -> np.ndarray:
        return np.array(list(map(len, self.allowed_choices)))

    @cached_property
    def _digits_by_rank(self) -> np.ndarray:
        table = np.zeros((self.num_blocks, self.num_choices), dtype=int)
        for block, allowed in enumerate(self.allowed_choices):
            table[block, : len(allowed)] = allowed
        return table

    def _digits_of_ranks(self, ranks: np.ndarray) -> np.ndarray:
        """Map ranks among the choices that a block has to their digits."""
        return self._digits_by_rank[np.arange(self.num_blocks), ranks]

    def complete_row(self, values: Mapping[int, T]) -> tuple[T, ...]:
        """Complete a row of a table, which has one value for each digit.

        Args:
            values: Values of the digits that the block has. The other digits
                get the first of them: no path reads it.
        """
        first = next(iter(values.values()))
        return tuple(values.get(i, first) for i in range(self.num_choices))

    def all_paths(self) -> Iterator[ArchPath]:
        """Yield every path of the space, in lexicographic order."""
        return product(*self.allowed_choices)

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
            if choice not in self.allowed_choices[block]:
                raise InputError(
                    f'digit {_digits([choice])!r} of block '
                    f'{self.block_name(block)}, number {block + 1} of '
                    f'{self.num_blocks}, must be one of '
                    f'{_digits(self.allowed_choices[block])!r}, got path '
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
            'stem_channels': self.stem_channels,
            'stage_channels': list(self.stage_channels),
            'stage_blocks': list(self.stage_blocks),
            'choices': [choice.to_config() for choice in self.choice_blocks],
        }


def require_concentration(concentration: float) -> None:
    """Check the concentration of uneven paths."""
    is_number = isinstance(concentration, (int, float))
    if not is_number or not 0 < concentration < math.inf:
        raise InputError(
            '`concentration` must be a number of more than 0, such as 0.4, '
            f'got {concentration!r}'
        )


def _digits(path: Iterable[int]) -> str:
    return ''.join(
        DIGITS[choice] if 0 <= choice < len(DIGITS) else f'<{choice}>'
        for choice in path
    )


def _elastic_choices(expansion: int) -> tuple:
    """Return choices that differ in kernel, width and depth."""
    wide = Choice('shuffle_3x3', (('expansion', expansion),))
    return 'shuffle_3x3', 'shuffle_5x5', wide, 'shuffle_skip'


SEARCH_SPACES: Mapping[str, SearchSpace] = {
    # Table 1 of the paper; stem widths as in the authors' code.
    'small': SearchSpace(16, (64, 160, 320, 640), (4, 4, 8, 4)),
    'large': SearchSpace(48, (96, 240, 480, 960), (8, 8, 16, 8)),
    'large_3.8g': SearchSpace(72, (172, 432, 864, 1728), (8, 8, 16, 8)),
    # Not in the paper: small enough for the digits data on a CPU.
    'tiny': SearchSpace(16, (32, 64, 128, 256), (2, 2, 4, 2)),
    # Not in the paper: nets that differ in depth and width.
    'elastic': SearchSpace(
        16, (64, 160, 320, 640), (4, 4, 8, 4), _elastic_choices(expansion=2)
    ),
    'elastic_tiny': SearchSpace(
        8, (16, 32, 64, 128), (3, 3, 4, 3), _elastic_choices(expansion=6)
    ),
}

# Backbones that the authors published: (search space, digits of the path).
PUBLISHED_PATHS: Mapping[str, tuple[str, str]] = {
    'detnas_fpn_300m': ('small', '2120 2112 33130031 3132'),
    'detnas_retinanet_300m': ('small', '2311 3213 31113320 3333'),
    'detnasnet_1.3g': ('large', '00312102 03123320 2113202221310333 13333333'),
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
