"""Bounds on the cost of a path."""

import math
from dataclasses import dataclass

from detnas_mm.cost.counting import Limit, count_paths
from detnas_mm.cost.latency_table import NANOSECONDS, LatencyTable
from detnas_mm.cost.macs import cost_table
from detnas_mm.structures import ArchPath, Cost, CostTable, SearchSpace
from detnas_mm.utils.errors import InputError

COSTS = ('macs', 'params', 'latency')


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Lower and upper bounds, both inclusive; ``None`` is no bound.

    Attributes:
        min_macs: Least multiply-adds.
        max_macs: Most multiply-adds.
        min_params: Least number of parameters.
        max_params: Most parameters.
        min_latency: Least predicted latency of the backbone, in ms.
        max_latency: Most of it, in ms.
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
                    f'`min_{cost}` must not be above `max_{cost}`, got '
                    f'{low:g} and {high:g}'
                )

    def range(self, cost: str) -> tuple[float, float]:
        """Returns the least and the most of one of the ``COSTS``."""
        low = getattr(self, f'min_{cost}')
        high = getattr(self, f'max_{cost}')
        return (
            -math.inf if low is None else low,
            math.inf if high is None else high,
        )

    def has(self, cost: str) -> bool:
        """Whether one of the ``COSTS`` is bounded."""
        return self.range(cost) != (-math.inf, math.inf)


class Constraint:
    """Says whether a path keeps the bounds, by looking up tables.

    Args:
        space: The search space.
        bounds: The bounds.
        input_size: Height and width of the image at which MACs are counted.
        table: Costs of the blocks. Defaults to the exact ones of the paper's
            choice blocks.
        rest: Cost of the rest of the detector, where the bounds are meant
            for the whole of it. Defaults to nothing: the backbone alone is
            bounded, as in the paper.
        latency_table: Measured latencies of the blocks.

    Raises:
        InputError: If the latency is bounded without a table, or the table
            is one of another search space.
    """

    def __init__(
        self,
        space: SearchSpace,
        bounds: Bounds,
        *,
        input_size: tuple[int, int] = (224, 224),
        table: CostTable | None = None,
        rest: Cost | None = None,
        latency_table: LatencyTable | None = None,
    ) -> None:
        self.space = space
        self.bounds = bounds
        self.input_size = tuple(input_size)
        self.table = table or cost_table(space, self.input_size)
        self.rest = rest or Cost(0, 0)
        self.latency_table = latency_table
        _require_latency_table(space, bounds, latency_table)
        self._limits = {
            cost: self._limit(cost) for cost in COSTS if bounds.has(cost)
        }

    def macs(self, path: ArchPath) -> int:
        """Returns the MACs that the bounds are compared with."""
        return self.table.macs(path) + self.rest.macs

    def params(self, path: ArchPath) -> int:
        """Returns the parameters that the bounds are compared with."""
        return self.table.params(path) + self.rest.params

    def latency(self, path: ArchPath) -> float | None:
        """Returns the predicted ms of the backbone, where there is a table."""
        if self.latency_table is None:
            return None
        return self.latency_table.latency(path)

    def reason(self, path: ArchPath) -> str | None:
        """Returns why a path is refused, or ``None`` if it is legal."""
        for cost, limit in self._limits.items():
            if not limit.is_kept(path):
                value = _text(cost, getattr(self, cost)(path))
                return f'{value} {cost}, bounds are {self._bounds_text(cost)}'
        return None

    def is_legal(self, path: ArchPath) -> bool:
        """Whether a path keeps all bounds."""
        return all(limit.is_kept(path) for limit in self._limits.values())

    def require_legal_paths(self, needed: int) -> None:
        """Makes sure that a search of ``needed`` paths is possible.

        Raises:
            InputError: If fewer paths keep the bounds.
        """
        count = self.count_legal_paths(needed)
        if count >= needed:
            return
        if count == 0:
            raise InputError(f'no path keeps the bounds: {self._ranges()}')
        raise InputError(
            f'the search asks for {needed} paths, but only {count} keep the '
            f'bounds; search fewer, or widen the bounds: {self._ranges()}'
        )

    def count_legal_paths(self, at_least: int) -> int:
        """Counts the paths that keep the bounds, up to ``at_least``.

        Returns:
            The exact number, or some number of at least ``at_least``; for
            what is too large to be counted see
            :func:`detnas_mm.cost.counting.count_paths`.
        """
        if not self._limits:
            return self.space.size
        return count_paths(list(self._limits.values()), at_least)

    def to_dict(self) -> dict:
        """Returns the constraint as plain data, for the record."""
        fields = {
            'min_macs': self.bounds.min_macs,
            'max_macs': self.bounds.max_macs,
            'min_params': self.bounds.min_params,
            'max_params': self.bounds.max_params,
            'input_size': list(self.input_size),
            'rest_macs': self.rest.macs,
            'rest_params': self.rest.params,
        }
        if self.latency_table is not None:
            fields |= {
                'min_latency': self.bounds.min_latency,
                'max_latency': self.bounds.max_latency,
                'latency_table': self.latency_table.digest,
                'latency_device': self.latency_table.device,
                'latency_input_size': list(self.latency_table.input_size),
            }
        return fields

    def _limit(self, cost: str) -> Limit:
        low, high = self.bounds.range(cost)
        if cost == 'latency':
            fixed, rows = self.latency_table.in_nanoseconds()
            return Limit(fixed, rows, *map(_nanoseconds, (low, high)))
        fixed = getattr(self.table.stem + self.rest, cost)
        rows = tuple(
            tuple(getattr(choice, cost) for choice in row)
            for row in self.table.blocks
        )
        return Limit(fixed, rows, low, high)

    def _ranges(self) -> str:
        """Says what the space offers beside what the bounds ask."""
        parts = []
        for cost, limit in self._limits.items():
            scale = NANOSECONDS if cost == 'latency' else 1
            least, most = (
                _text(cost, end / scale if scale > 1 else end)
                for end in limit.ends
            )
            parts.append(
                f'{cost} of the space are {least} to {most}, bounds are '
                f'{self._bounds_text(cost)}'
            )
        return '; '.join(parts) or 'there are no bounds'

    def _bounds_text(self, cost: str) -> str:
        low, high = self.bounds.range(cost)
        return f'{_text(cost, low)} to {_text(cost, high)}'


def _require_latency_table(
    space: SearchSpace, bounds: Bounds, table: LatencyTable | None
) -> None:
    if table is None:
        if bounds.has('latency'):
            raise InputError(
                '`min_latency` and `max_latency` need a `latency_table`; '
                'measure one by tools/analysis_tools/measure_latency.py'
            )
    elif table.search_space != space:
        raise InputError(
            f'`latency_table` is that of {table.search_space}, but the search '
            f'space is {space}'
        )


def _nanoseconds(milliseconds: float) -> float:
    if math.isinf(milliseconds):
        return milliseconds
    return round(milliseconds * NANOSECONDS)


def _text(cost: str, value: float) -> str:
    return f'{value:.3f} ms' if cost == 'latency' else f'{value:,}'
