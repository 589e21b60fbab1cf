"""Predicted latency of a path: the sum over its stem and blocks.

The table holds what was measured on one device for one size of image, and
names both.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from detnas_mm.structures import ArchPath, SearchSpace, get_search_space
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import text_digest, write_atomically

NANOSECONDS = 1_000_000  # of a millisecond
# The paths of a space differ by about this much.
_LARGE_ERROR = 0.1


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
        precision: ``'fp32'``, ``'fp16'`` or ``'bf16'``.
        channels_last: Whether the channels were last in memory.
        stem: Latency of the stem, in ms for the whole batch.
        blocks: For each block, the latency of each of its choices, in ms.
        software: Versions of the software that ran.
        rounds: How often each choice was measured; the table has medians.
        check: How well predictions agreed with measured whole backbones.
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
        if not all(
            value > 0 for row in [(self.stem,), *rows] for value in row
        ):
            raise InputError('latencies must be positive numbers of ms')

    def latency(self, path: ArchPath) -> float:
        """Return the predicted latency of the backbone of a path, in ms."""
        chosen = zip(self.blocks, path, strict=True)
        total = _whole(self.stem) + sum(_whole(row[c]) for row, c in chosen)
        return total / NANOSECONDS

    def in_nanoseconds(self) -> tuple[int, tuple[tuple[int, ...], ...]]:
        """Return stem and blocks as integers, so that sums are exact."""
        rows = tuple(tuple(map(_whole, row)) for row in self.blocks)
        return _whole(self.stem), rows

    @property
    def is_inaccurate(self) -> bool:
        """True if predictions were far off measured whole backbones."""
        return self.check.get('mape', 0) > _LARGE_ERROR

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
        fields = asdict(self) | {'search_space': self.search_space.to_dict()}
        return json.dumps(fields, indent=1) + '\n'


def _whole(milliseconds: float) -> int:
    return round(milliseconds * NANOSECONDS)
