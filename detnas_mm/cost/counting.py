"""How many paths of a space keep bounds on their costs."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detnas_mm.structures import ArchPath

# Pairs of half paths that are looked at to count legal paths.
MAX_PAIRS = 200_000_000
# Half paths that are listed; in a space of more, paths are drawn.
MAX_HALVES = 4_000_000
MAX_DRAWS = 1_000_000


@dataclass(frozen=True)
class Limit:
    """Bounds on one cost of a path, in whole numbers.

    Attributes:
        fixed: Cost of what every path has.
        rows: For each block, the cost of each of its choices.
        low: The least that is legal.
        high: The most that is legal.
    """

    fixed: int
    rows: tuple[tuple[int, ...], ...]
    low: float
    high: float

    def total(self, path: ArchPath) -> int:
        """Returns the cost of a path."""
        chosen = zip(self.rows, path, strict=True)
        return self.fixed + sum(row[choice] for row, choice in chosen)

    def is_kept(self, path: ArchPath) -> bool:
        """Whether a path is within the bounds."""
        return self.low <= self.total(path) <= self.high

    @property
    def ends(self) -> tuple[int, int]:
        """The least and the most that a path of the space can cost."""
        return (
            self.fixed + sum(map(min, self.rows)),
            self.fixed + sum(map(max, self.rows)),
        )


# Costs of the choices of a block, one number for each limit.
_Row = tuple[tuple[int, ...], ...]


def count_paths(limits: Sequence[Limit], at_least: int) -> int:
    """Counts the paths that keep all limits, up to ``at_least``.

    The costs of all first halves of paths are paired with those of all
    second halves; halves that differ only in the order of equal blocks are
    counted together, which makes this exact and quick for MACs and
    parameters of the paper's spaces. Measured latencies differ for all
    blocks: for those of a large space, paths are drawn.

    Args:
        limits: At least one limit.
        at_least: Where to stop counting.

    Returns:
        The exact number, or some number of at least ``at_least``. A huge
        space with two narrow limits may be given up on: then what was asked
        for is returned, and the search finds out by drawing. Where paths are
        drawn, it is an estimate, and 0 if none of a million is legal.
    """
    if any(
        limit.ends[0] > limit.high or limit.ends[1] < limit.low
        for limit in limits
    ):
        return 0
    rows = [
        tuple(zip(*of_block, strict=True))
        for of_block in zip(*(limit.rows for limit in limits), strict=True)
    ]
    middle, halves = _middle_block(rows)
    if halves > MAX_HALVES:
        return _count_by_drawing(limits, at_least)
    fixed = tuple(limit.fixed for limit in limits)
    first = _sums(rows[:middle], fixed)
    second = _sums(rows[middle:], (0,) * len(limits))
    return _count_pairs(first, second, limits, at_least)


def _count_pairs(
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    limits: Sequence[Limit],
    at_least: int,
) -> int:
    """Counts the pairs of halves that keep the limits."""
    (first, first_count), (second, second_count) = first, second
    order = np.argsort(second[:, 0], kind='stable')
    second, second_count = second[order], second_count[order]
    low, high = limits[0].low, limits[0].high
    starts = np.searchsorted(second[:, 0], low - first[:, 0], 'left')
    ends = np.searchsorted(second[:, 0], high - first[:, 0], 'right')
    if len(limits) == 1:
        before = np.concatenate([[0.0], np.cumsum(second_count)])
        return int((first_count * (before[ends] - before[starts])).sum())
    lows, highs = np.array([(one.low, one.high) for one in limits[1:]]).T
    total = pairs = 0
    for half, ways, start, end in zip(
        first, first_count, starts, ends, strict=True
    ):
        sums = half[1:] + second[start:end, 1:]
        legal = ((lows <= sums) & (sums <= highs)).all(axis=1)
        total += int(ways * second_count[start:end][legal].sum())
        pairs += max(int(end - start), 1)
        if total >= at_least:
            return total
        if pairs > MAX_PAIRS:
            return at_least
    return total


def _count_by_drawing(limits: Sequence[Limit], at_least: int) -> int:
    """Estimates the number of legal paths from a million drawn ones."""
    rng = np.random.default_rng(0)
    tables = [np.array(limit.rows) for limit in limits]
    blocks, choices = tables[0].shape
    batch, found = 10_000, 0
    for _ in range(MAX_DRAWS // batch):
        paths = rng.integers(choices, size=(batch, blocks))
        legal = np.ones(batch, dtype=bool)
        for limit, table in zip(limits, tables, strict=True):
            total = limit.fixed + table[np.arange(blocks), paths].sum(axis=1)
            legal &= (limit.low <= total) & (total <= limit.high)
        found += int(legal.sum())
    return min(found * choices**blocks // MAX_DRAWS, at_least)


def _middle_block(rows: Sequence[_Row]) -> tuple[int, int]:
    """Finds where to cut so that both halves have few distinct sums.

    Returns:
        The block, and how many sums the larger half has at most.
    """
    sizes = [
        max(_num_sums(rows[:end]), _num_sums(rows[end:]))
        for end in range(len(rows) + 1)
    ]
    middle = int(np.argmin(np.array(sizes, dtype=float)))
    return middle, sizes[middle]


def _groups(rows: Sequence[_Row]) -> list[tuple[_Row, int]]:
    """Returns the distinct rows of a table with how often each occurs."""
    counts: dict[_Row, int] = {}
    for row in rows:
        counts[row] = counts.get(row, 0) + 1
    return list(counts.items())


def _num_sums(rows: Sequence[_Row]) -> int:
    return math.prod(
        math.comb(times + len(row) - 1, times) for row, times in _groups(rows)
    )


def _sums(
    rows: Sequence[_Row], fixed: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the costs that some blocks can have together.

    Returns:
        Costs of shape ``(N, limits)``, and in how many ways each comes
        about, ``(N, )``, as floating-point numbers: a large space has more
        paths than an integer holds.
    """
    sums = np.array([fixed], dtype=np.int64)
    ways = np.ones(1)
    for row, times in _groups(rows):
        costs, counts = _multiset_sums(row, times)
        sums = (sums[:, None] + costs[None]).reshape(-1, len(fixed))
        ways = (ways[:, None] * counts[None]).reshape(-1)
        sums, inverse = np.unique(sums, axis=0, return_inverse=True)
        ways = np.bincount(inverse.reshape(-1), weights=ways)
    return sums, ways


def _multiset_sums(row: _Row, times: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums of ``times`` blocks with the same costs, and their number."""
    costs = np.array(row, dtype=np.int64)
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
