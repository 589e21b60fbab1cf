"""Bounds on the cost of a path."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detnas_mm.structures import Cost, CostTable, Path, SearchSpace

from .macs import cost_table

# Pairs of half paths that are looked at to count legal paths.
MAX_PAIRS = 200_000_000


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Lower and upper bounds, both inclusive; ``None`` is no bound.

    Attributes:
        min_macs: Least multiply-adds.
        max_macs: Most multiply-adds.
        min_params: Least number of parameters.
        max_params: Most parameters.
    """

    min_macs: float | None = None
    max_macs: float | None = None
    min_params: float | None = None
    max_params: float | None = None

    def __post_init__(self) -> None:
        for cost in ('macs', 'params'):
            low, high = self.range(cost)
            if low > high:
                raise ValueError(
                    f'`min_{cost}` must not be above `max_{cost}`, got '
                    f'{low:g} and {high:g}'
                )

    def range(self, cost: str) -> tuple[float, float]:
        """Returns the least and the most of ``'macs'`` or ``'params'``."""
        low = getattr(self, f'min_{cost}')
        high = getattr(self, f'max_{cost}')
        return (
            -math.inf if low is None else low,
            math.inf if high is None else high,
        )


class Constraint:
    """Says whether a path keeps the bounds, by looking up a table.

    Args:
        space: The search space.
        bounds: The bounds.
        input_size: Height and width of the image at which MACs are counted.
        table: Costs of the blocks. Defaults to the exact ones of the paper's
            choice blocks.
        rest: Cost of the rest of the detector, where the bounds are meant
            for the whole of it. Defaults to nothing: the backbone alone is
            bounded, as in the paper.
    """

    def __init__(
        self,
        space: SearchSpace,
        bounds: Bounds,
        *,
        input_size: tuple[int, int] = (224, 224),
        table: CostTable | None = None,
        rest: Cost | None = None,
    ) -> None:
        self.space = space
        self.bounds = bounds
        self.input_size = tuple(input_size)
        self.table = table or cost_table(space, self.input_size)
        self.rest = rest or Cost(0, 0)

    def macs(self, path: Path) -> int:
        """Returns the MACs that the bounds are compared with."""
        return self.table.macs(path) + self.rest.macs

    def params(self, path: Path) -> int:
        """Returns the parameters that the bounds are compared with."""
        return self.table.params(path) + self.rest.params

    def reason(self, path: Path) -> str | None:
        """Returns why a path is refused, or ``None`` if it is legal."""
        for cost, count in (('macs', self.macs), ('params', self.params)):
            low, high = self.bounds.range(cost)
            value = count(path)
            if not low <= value <= high:
                return f'{value:,} {cost}, bounds are {low:,} to {high:,}'
        return None

    def is_legal(self, path: Path) -> bool:
        """Whether a path keeps all bounds."""
        bounds = self.bounds
        if bounds.min_macs is not None or bounds.max_macs is not None:
            low, high = bounds.range('macs')
            if not low <= self.macs(path) <= high:
                return False
        if bounds.min_params is not None or bounds.max_params is not None:
            low, high = bounds.range('params')
            if not low <= self.params(path) <= high:
                return False
        return True

    def require_legal_paths(self, needed: int) -> None:
        """Makes sure that a search of ``needed`` paths is possible.

        Raises:
            ValueError: If fewer paths keep the bounds.
        """
        count = self.count_legal_paths(needed)
        if count >= needed:
            return
        if count == 0:
            raise ValueError(f'no path keeps the bounds: {self._ranges()}')
        raise ValueError(
            f'the search asks for {needed} paths, but only {count} keep the '
            f'bounds; search fewer, or widen the bounds: {self._ranges()}'
        )

    def count_legal_paths(self, at_least: int) -> int:
        """Counts the paths that keep the bounds, up to ``at_least``.

        The costs of all first halves of paths are paired with those of all
        second halves; halves that differ only in the order of equal blocks
        are counted together, which makes this exact and quick for the
        paper's spaces.

        Returns:
            The exact number, or some number of at least ``at_least``. A huge
            space with two narrow bounds may be given up on: then what was
            asked for is returned, and the search finds out by drawing.
        """
        middle = self._middle_block()
        fixed = self.table.stem + self.rest
        first, first_count = _sums(self.table.blocks[:middle], fixed)
        second, second_count = _sums(self.table.blocks[middle:], Cost(0, 0))
        order = np.argsort(second[:, 0], kind='stable')
        second, second_count = second[order], second_count[order]

        (macs_low, macs_high), (low, high) = map(
            self.bounds.range, ('macs', 'params')
        )
        starts = np.searchsorted(second[:, 0], macs_low - first[:, 0], 'left')
        ends = np.searchsorted(second[:, 0], macs_high - first[:, 0], 'right')
        total = pairs = 0
        for half, ways, start, end in zip(
            first, first_count, starts, ends, strict=True
        ):
            params = half[1] + second[start:end, 1]
            legal = (low <= params) & (params <= high)
            total += int(ways * second_count[start:end][legal].sum())
            pairs += max(int(end - start), 1)
            if total >= at_least:
                return total
            if pairs > MAX_PAIRS:
                return at_least
        return total

    def to_dict(self) -> dict:
        """Returns the constraint as plain data, for the record."""
        return {
            'min_macs': self.bounds.min_macs,
            'max_macs': self.bounds.max_macs,
            'min_params': self.bounds.min_params,
            'max_params': self.bounds.max_params,
            'input_size': list(self.input_size),
            'rest_macs': self.rest.macs,
            'rest_params': self.rest.params,
        }

    def _middle_block(self) -> int:
        """Returns where to cut so that both halves have few distinct sums."""
        ends = np.cumsum(self.space.stage_blocks).tolist()
        sizes = [
            max(_num_sums(self.table.blocks[:end]),
                _num_sums(self.table.blocks[end:]))
            for end in (0, *ends)
        ]  # fmt: skip
        return [0, *ends][int(np.argmin(sizes))]

    def _ranges(self) -> str:
        """Says what the space offers beside what the bounds ask."""
        parts = []
        for cost in ('macs', 'params'):
            low, high = self.bounds.range(cost)
            if (low, high) == (-math.inf, math.inf):
                continue
            costs = [
                [getattr(choice, cost) for choice in row]
                for row in self.table.blocks
            ]
            fixed = getattr(self.table.stem + self.rest, cost)
            least = fixed + sum(map(min, costs))
            most = fixed + sum(map(max, costs))
            parts.append(
                f'{cost} of the space are {least:,} to {most:,}, bounds are '
                f'{low:,} to {high:,}'
            )
        return '; '.join(parts) or 'there are no bounds'


def _groups(rows: Sequence[tuple[Cost, ...]]) -> list[tuple[tuple, int]]:
    """Returns the distinct rows of a table with how often each occurs."""
    counts: dict[tuple[Cost, ...], int] = {}
    for row in rows:
        counts[row] = counts.get(row, 0) + 1
    return list(counts.items())


def _num_sums(rows: Sequence[tuple[Cost, ...]]) -> int:
    return math.prod(
        math.comb(times + len(row) - 1, times) for row, times in _groups(rows)
    )


def _sums(
    rows: Sequence[tuple[Cost, ...]], fixed: Cost
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the costs that some blocks can have together.

    Returns:
        Costs of shape ``(N, 2)``, MACs and params, and in how many ways each
        comes about, ``(N, )``, as floating-point numbers: a large space has
        more paths than an integer holds.
    """
    sums = np.array([[fixed.macs, fixed.params]], dtype=np.int64)
    ways = np.ones(1)
    for row, times in _groups(rows):
        costs, counts = _multiset_sums(row, times)
        sums = (sums[:, None] + costs[None]).reshape(-1, 2)
        ways = (ways[:, None] * counts[None]).reshape(-1)
        sums, inverse = np.unique(sums, axis=0, return_inverse=True)
        ways = np.bincount(inverse.reshape(-1), weights=ways)
    return sums, ways


def _multiset_sums(
    row: tuple[Cost, ...], times: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of ``times`` blocks with the same costs, and their number."""
    costs = np.array([[c.macs, c.params] for c in row], dtype=np.int64)
    sums, ways = [], []
    combinations = itertools.combinations_with_replacement
    for chosen in combinations(range(len(row)), times):
        counts = np.bincount(chosen, minlength=len(row))
        sums.append(counts @ costs)
        ways.append(
            math.factorial(times)
            / math.prod(math.factorial(count) for count in counts.tolist())
        )
    return np.stack(sums), np.array(ways)
