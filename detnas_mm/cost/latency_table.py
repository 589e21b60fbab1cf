"""Predicted latency of a path: the sum over its stem and blocks.

The table holds what was measured on one device for one size of image, and
names both.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path

from detnas_mm.structures import ArchPath, SearchSpace, get_search_space
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import text_digest, write_atomically

NANOSECONDS = 1_000_000  # of a millisecond
# What tables of PyTorch's eager mode have, and earlier files do not name.
EAGER = 'torch'
_LARGE_ERROR = 0.1
# The share of its own repeatability that a ranking must reach.
_LEAST_RANKING = 0.5
_NEW_FIELDS = ('runtime', 'statistic', 'scale', 'rest')


@dataclass(frozen=True, kw_only=True)
class LatencyTable:
    """Latency of the stem and of each choice of each block.

    Attributes:
        search_space: The search space.
        shuffle: Channel shuffle of the measured blocks.
        input_size: Height and width of the images.
        batch_size: Number of images that ran together.
        device: Name of the device.
        threads: Threads that a CPU used; 0 on a GPU.
        precision: ``'fp32'``, ``'fp16'``, ``'bf16'`` or ``'int8'``.
        channels_last: Whether the channels were last in memory.
        stem: Latency of the stem, in ms for the whole batch.
        blocks: For each block, the latency of each of its choices, in ms. A
            choice that is the identity may have 0.
        software: Versions of the software that ran.
        rounds: How often each choice was measured.
        check: How well predictions agreed with measured whole backbones, see
            :func:`detnas_mm.evaluation.latency_check.check_predictions`.
        runtime: What ran: ``'torch'`` is PyTorch's eager mode.
        statistic: What the table has of the rounds: ``'minimum'``, or
            ``'minimum of the CPU time'``, ``'median'`` in earlier files.
        scale: Factor on stem and blocks, by which sums of blocks that ran
            alone become those of whole backbones.
        rest: Latency of neck and heads in ms; ``None`` if not measured.
    """

    search_space: SearchSpace
    shuffle: str
    input_size: tuple[int, int]
    batch_size: int
    device: str
    threads: int
    precision: str
    channels_last: bool
    stem: float
    blocks: tuple[tuple[float, ...], ...]
    software: str = ''
    rounds: int = 0
    check: Mapping[str, float] = field(default_factory=dict)
    runtime: str = EAGER
    statistic: str = 'median'
    scale: float = 1.0
    rest: float | None = None

    def __post_init__(self) -> None:
        rows = tuple(tuple(map(float, row)) for row in self.blocks)
        space = get_search_space(self.search_space)
        object.__setattr__(self, 'search_space', space)
        object.__setattr__(self, 'input_size', tuple(self.input_size))
        object.__setattr__(self, 'blocks', rows)
        shape = (space.num_blocks, {space.num_choices})
        if (len(rows), set(map(len, rows))) != shape:
            raise InputError(
                f'`blocks` must have {space.num_blocks} rows of '
                f'{space.num_choices} numbers, got {len(rows)} rows of '
                f'{sorted(set(map(len, rows)))}'
            )
        rest = 1.0 if self.rest is None else self.rest
        limits = [(number, 1e-9) for number in (self.stem, self.scale, rest)]
        for digit, choice in enumerate(space.choice_blocks):
            least = 0.0 if choice.type == 'skip' else 1e-9
            limits += [(row[digit], least) for row in rows]
        if not all(least <= number < math.inf for number, least in limits):
            raise InputError('latencies must be positive numbers of ms')

    def latency(self, path: ArchPath) -> float:
        """Return the predicted latency of the backbone of a path, in ms."""
        return self.nanoseconds(path) / NANOSECONDS

    def nanoseconds(self, path: ArchPath) -> int:
        """Return the same in whole nanoseconds."""
        stem, rows = self.in_nanoseconds
        chosen = zip(rows, path, strict=True)
        return stem + sum(row[c] for row, c in chosen)

    @cached_property
    def in_nanoseconds(self) -> tuple[int, tuple[tuple[int, ...], ...]]:
        """Stem and blocks as integers, so that sums are exact."""

        def whole(milliseconds: float) -> int:
            return round(milliseconds * self.scale * NANOSECONDS)

        rows = tuple(tuple(map(whole, row)) for row in self.blocks)
        return whole(self.stem), rows

    @property
    def verdict(self) -> str:
        """What to do with the table; ``''`` if it is a good guide."""
        check = self.check
        if check.get('mape', 0) > _LARGE_ERROR:
            return f'bad table: its error is {check["mape"]:.0%}'
        if 'macs_kendall' not in check:
            return ''
        kendall = check['kendall']
        if not kendall >= _LEAST_RANKING * check['repeat_kendall']:
            return (
                f"bad table: its Kendall's tau is {kendall:.2f}, that of the "
                f'measurement repeated {check["repeat_kendall"]:.2f}'
            )
        if kendall <= check['macs_kendall']:
            return 'use MACs, this table ranks no better'
        return ''

    @property
    def digest(self) -> str:
        """SHA-256 of the content of the file."""
        return text_digest(self._text())

    def save(self, file: str | os.PathLike) -> None:
        """Write the table as JSON, completely or not at all."""
        write_atomically(file, self._text())

    @classmethod
    def load(cls, file: str | os.PathLike) -> 'LatencyTable':
        """Read a table."""
        file = Path(file)
        if not file.is_file():
            raise InputError(
                f'no latency table at {file}; measure one by '
                'tools/analysis_tools/measure_latency.py'
            )
        try:
            return cls(**json.loads(file.read_text()))
        except (TypeError, ValueError) as error:
            raise InputError(
                f'{file} is not a latency table ({error}); measure one by '
                'tools/analysis_tools/measure_latency.py'
            ) from error

    def _text(self) -> str:
        content = asdict(self) | {'search_space': self.search_space.to_dict()}
        for item in fields(self):
            # Earlier files keep their digest.
            if item.name in _NEW_FIELDS and content[item.name] == item.default:
                del content[item.name]
        return json.dumps(content, indent=1) + '\n'
