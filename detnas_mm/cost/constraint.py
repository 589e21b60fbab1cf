"""Bounds on the cost of a path, and the number of paths that keep them."""

import math
from dataclasses import KW_ONLY, asdict, dataclass

import numpy as np

from detnas_mm.cost.latency_table import EAGER, NANOSECONDS, LatencyTable
from detnas_mm.cost.macs import cost_table
from detnas_mm.structures import COSTS, ArchPath, Cost, CostTable, SearchSpace
from detnas_mm.utils.errors import InputError

# Number of paths that are looked up to count the legal paths (the size of the
# tiny space), and the size of a batch of them.
MAX_COUNTED = 4**10
_BATCH = 2**14


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Lower and upper bounds, both inclusive; ``None`` means unbounded.

    MACs are multiply-adds. The latency is predicted, in ms.
    """

    min_macs: float | None = None
    max_macs: float | None = None
    min_params: float | None = None
    max_params: float | None = None
    min_latency: float | None = None
    max_latency: float | None = None

    def __post_init__(self) -> None:
        for cost in COSTS:
            low, high = self.range(cost)
            if low > high:
                raise InputError(
                    f'{_setting("min", cost)} must not be above '
                    f'{_setting("max", cost)}, got {low:g} and {high:g}'
                )

    def range(self, cost: str) -> tuple[float, float]:
        """Return the lower and the upper bound on one of the ``COSTS``."""
        low = getattr(self, f'min_{cost}')
        high = getattr(self, f'max_{cost}')
        return (
            -math.inf if low is None else low,
            math.inf if high is None else high,
        )

    def has(self, cost: str) -> bool:
        """Return True if one of the ``COSTS`` is bounded."""
        return self.range(cost) != (-math.inf, math.inf)


@dataclass(frozen=True)
class _Limit:
    """Bounds on one cost, in whole numbers: a latency in nanoseconds."""

    fixed: int  # cost of the parts that every path has
    rows: tuple[tuple[int, ...], ...]  # for each block, cost of its choices
    low: float
    high: float

    def allows(self, path: ArchPath) -> bool:
        chosen = zip(self.rows, path, strict=True)
        total = self.fixed + sum(row[choice] for row, choice in chosen)
        return self.low <= total <= self.high

    def allows_each(self, paths: np.ndarray) -> np.ndarray:
        """Look up many paths at once, of shape ``(N, num_blocks)``."""
        blocks = np.arange(len(self.rows))
        totals = self.fixed + np.array(self.rows)[blocks, paths].sum(axis=1)
        return (self.low <= totals) & (totals <= self.high)

    @property
    def ends(self) -> tuple[int, int]:
        """Minimum and maximum over all paths of the space."""
        return (
            self.fixed + sum(map(min, self.rows)),
            self.fixed + sum(map(max, self.rows)),
        )


@dataclass(eq=False)
class Constraint:
    """Decides if a path keeps the bounds, by table look-ups alone.

    Args:
        space: The search space.
        bounds: The bounds.
        input_size: Height and width of the image at which MACs are counted.
        table: Costs of the blocks. Defaults to the exact costs of the paper's
            choice blocks.
        rest: Cost of neck and heads, to bound the whole detector. Defaults to
            zero: the backbone alone is bounded, as in the paper.
        latency_table: Measured latencies of the blocks.
        adds_rest: Whether the latency includes neck and heads, as measured.
    """

    space: SearchSpace
    bounds: Bounds
    _: KW_ONLY
    input_size: tuple[int, int] = (224, 224)
    table: CostTable | None = None
    rest: Cost = Cost(0, 0)
    latency_table: LatencyTable | None = None
    adds_rest: bool = False

    def __post_init__(self) -> None:
        latencies = self.latency_table
        self.input_size = tuple(self.input_size)
        self.table = self.table or cost_table(self.space, self.input_size)
        self.rest_latency = 0  # in nanoseconds
        if self.adds_rest and latencies is not None:
            self.rest_latency = round((latencies.rest or 0) * NANOSECONDS)
        if latencies is None and self.bounds.has('latency'):
            raise InputError(
                'bounds on the latency need a table, '
                '`latency=dict(table=FILE)`; measure one by '
                'tools/analysis_tools/measure_latency.py'
            )
        if latencies and latencies.search_space != self.space:
            raise InputError(
                f'`latency_table` was measured for {latencies.search_space}, '
                f'but the search space is {self.space}; measure one for it'
            )
        self._limits = {
            cost: self._limit(cost) for cost in COSTS if self.bounds.has(cost)
        }

    def macs(self, path: ArchPath) -> int:
        """Return the MACs that the bounds are compared with."""
        return self.table.macs(path) + self.rest.macs

    def params(self, path: ArchPath) -> int:
        """Return the parameters that the bounds are compared with."""
        return self.table.params(path) + self.rest.params

    def latency(self, path: ArchPath) -> float | None:
        """Return the predicted latency in ms, ``None`` without a table."""
        if self.latency_table is None:
            return None
        backbone = self.latency_table.nanoseconds(path)
        return (backbone + self.rest_latency) / NANOSECONDS

    def reason(self, path: ArchPath) -> str | None:
        """Return why a path is refused, or ``None`` if it is legal."""
        for cost, limit in self._limits.items():
            if not limit.allows(path):
                value = _text(cost, getattr(self, cost)(path))
                return f'{value} {cost}, bounds are {self._bounds_text(cost)}'
        return None

    def is_legal(self, path: ArchPath) -> bool:
        """Return True if a path keeps all bounds."""
        return all(limit.allows(path) for limit in self._limits.values())

    def require_legal_paths(self, needed: int) -> None:
        """Check that at least ``needed`` different paths keep the bounds."""
        for cost, limit in self._limits.items():
            least, most = limit.ends
            if limit.low > most or limit.high < least:
                end = 'min' if limit.low > most else 'max'
                value = getattr(self.bounds, f'{end}_{cost}')
                raise InputError(
                    f'no path keeps the bounds: {_setting(end, cost)} is '
                    f'{_text(cost, value)}, but {self._ends_text(cost)}'
                )
        count = self.count_legal_paths(needed)
        if count >= needed:
            return
        details = '; '.join(
            f'{self._ends_text(cost)}, bounds are {self._bounds_text(cost)}'
            for cost in self._limits
        )
        # From a large space paths are drawn.
        is_exact = self.space.size <= MAX_COUNTED
        if not count:
            none = 'no path'
            if not is_exact:
                none = f'none of {MAX_COUNTED:,} drawn paths'
            raise InputError(f'{none} keeps the bounds: {details}')
        found = f'{count}' if is_exact else f'about {count} drawn ones'
        raise InputError(
            f'the search asks for {needed} paths, but only {found} keep the '
            'bounds; search fewer, or widen the bounds: '
            f'{details or "there are none"}'
        )

    def count_legal_paths(self, at_least: int) -> int:
        """Count the paths that keep the bounds, up to ``at_least``.

        All paths of a space of up to ``MAX_COUNTED`` are looked up. From a
        larger space that many are drawn, so that the result is an estimate.
        If none of them is legal, uneven paths are drawn as well, which reach
        the ends of the range of costs.
        """
        size = self.space.size
        if not self._limits:
            return size
        looked_up = min(size, MAX_COUNTED)
        rng = np.random.default_rng(0)
        found = 0
        for start in range(0, looked_up, _BATCH):
            numbers = np.arange(start, min(start + _BATCH, looked_up))
            if size <= MAX_COUNTED:
                paths = self.space.digits_at(numbers)
            else:
                paths = self.space.random_digits(rng, len(numbers))
            found += int(self._allows_each(paths).sum())
            if found * size // looked_up >= at_least:
                break
        if found == 0 and size > MAX_COUNTED:
            paths = self.space.random_digits(rng, MAX_COUNTED // 8, 0.4)
            return len(np.unique(paths[self._allows_each(paths)], axis=0))
        return found * size // looked_up

    def _allows_each(self, paths: np.ndarray) -> np.ndarray:
        legal = np.ones(len(paths), dtype=bool)
        for limit in self._limits.values():
            legal &= limit.allows_each(paths)
        return legal

    def to_dict(self) -> dict:
        """Return the constraint as plain data, for the record."""
        content = {
            bound: value
            for bound, value in asdict(self.bounds).items()
            if self.latency_table is not None or 'latency' not in bound
        }
        content |= {
            'input_size': list(self.input_size),
            'rest_macs': self.rest.macs,
            'rest_params': self.rest.params,
        }
        if self.latency_table is not None:
            content |= {
                'latency_table': self.latency_table.digest,
                'latency_device': self.latency_table.device,
                'latency_input_size': list(self.latency_table.input_size),
            }
            # Absent from records of earlier versions.
            if self.latency_table.runtime != EAGER:
                content['latency_runtime'] = self.latency_table.runtime
            if self.rest_latency:
                content['rest_latency'] = self.rest_latency / NANOSECONDS
        return content

    def _limit(self, cost: str) -> _Limit:
        low, high = self.bounds.range(cost)
        if cost == 'latency':
            fixed, rows = self.latency_table.in_nanoseconds
            low, high = (
                end if math.isinf(end) else round(end * NANOSECONDS)
                for end in (low, high)
            )
            return _Limit(fixed + self.rest_latency, rows, low, high)
        fixed = getattr(self.table.stem + self.rest, cost)
        rows = tuple(
            tuple(getattr(choice, cost) for choice in row)
            for row in self.table.blocks
        )
        return _Limit(fixed, rows, low, high)

    def _ends_text(self, cost: str) -> str:
        ends = self._limits[cost].ends
        if cost == 'latency':
            ends = [end / NANOSECONDS for end in ends]
        least, most = (_text(cost, end) for end in ends)
        return f'{cost} of the space are {least} to {most}'

    def _bounds_text(self, cost: str) -> str:
        low, high = self.bounds.range(cost)
        return f'{_text(cost, low)} to {_text(cost, high)}'


def _setting(end: str, cost: str) -> str:
    """Return a bound as users write it."""
    return f'`latency.{end}_ms`' if cost == 'latency' else f'`{end}_{cost}`'


def _text(cost: str, value: float) -> str:
    return f'{value:.3f} ms' if cost == 'latency' else f'{value:,}'
