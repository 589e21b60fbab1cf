"""Shared code of the benchmarks: timing in turns and a table."""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from detnas_mm.engine.network_arguments import add_device_option
from detnas_mm.models.latency import DeviceTimer, device_name


@dataclass(frozen=True)
class Spread:
    """A median and its quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> 'Spread':
        """Compute it from at least one value."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(
            values, n=4, method='inclusive'
        )
        return cls(median, low, high)

    def __str__(self) -> str:
        return f'{self.median:.3g} ({self.low:.3g} to {self.high:.3g})'


def add_measuring_options(
    parser: argparse.ArgumentParser, rounds: int
) -> None:
    """Add the options of all benchmarks that measure times."""
    add_device_option(parser)
    parser.add_argument(
        '--threads', type=int, default=1, help='threads of a CPU'
    )
    parser.add_argument(
        '--clock',
        choices=['wall', 'cpu'],
        default='wall',
        help='`cpu` counts the CPU time of this process, for shared machines',
    )
    parser.add_argument(
        '--rounds', type=int, default=rounds, help='runs of each case'
    )
    add_json_option(parser)


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument('--json', type=Path, help='write the numbers there')


def measure_in_turns(
    cases: Mapping[str, Callable[[], object]],
    args: argparse.Namespace,
    warm_up: int = 2,
) -> dict[str, list[float]]:
    """Run all cases in turns.

    Changes between rounds, such as the load of the machine, affect all cases
    equally.

    Args:
        cases: Functions to run, by name.
        args: The options of :func:`add_measuring_options`.
        warm_up: Rounds that do not count, before the others.

    Returns:
        The ms of each run of each case.
    """
    times: dict[str, list[float]] = {name: [] for name in cases}
    for index in range(-warm_up, args.rounds):
        for name, run in cases.items():
            milliseconds = measure(run, args)
            if index >= 0:
                times[name].append(milliseconds)
    return times


def measure(run: Callable[[], object], args: argparse.Namespace) -> float:
    """Return the ms of one run."""
    if args.clock == 'cpu':
        start = time.process_time()
        run()
        return (time.process_time() - start) * 1e3
    stopwatch = DeviceTimer(torch.device(args.device))
    stopwatch.mark()
    run()
    stopwatch.mark()
    return stopwatch.intervals()[0]


def conditions(args: argparse.Namespace) -> dict:
    """Return the conditions of a measurement besides the code."""
    device = torch.device(args.device)
    return dict(
        device=device_name(device),
        threads=torch.get_num_threads() if device.type == 'cpu' else None,
        clock=args.clock,
        torch=torch.__version__,
        load_average=os.getloadavg()[0],
    )


def report(
    title: str,
    rows: Sequence[Mapping[str, object]],
    args: argparse.Namespace,
    **facts: object,
) -> None:
    """Print a table, and the same as JSON.

    Args:
        title: Title of the table.
        rows: Rows with the same columns; a :class:`Spread` is printed as
            median and quartiles.
        args: The options; ``json`` names a file for the JSON.
        facts: Further entries of the JSON.
    """
    table = Table(title=title)
    for column in rows[0]:
        table.add_column(column, justify='right')
    for row in rows:
        table.add_row(*map(_text, row.values()))
    Console(width=120).print(table)
    content = dict(benchmark=title, **facts, rows=[_plain(r) for r in rows])
    text = json.dumps(content)
    print(text)
    if args.json is not None:
        args.json.write_text(text + '\n')


def _text(value: object) -> str:
    return f'{value:.4g}' if isinstance(value, float) else str(value)


def _plain(row: Mapping[str, object]) -> dict:
    return {
        key: asdict(value) if isinstance(value, Spread) else value
        for key, value in row.items()
    }
