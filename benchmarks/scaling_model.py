"""Simulate a search on many GPUs, with the durations of a search record.

The simulation is event by event: each worker takes the next path when it is
free, a generation begins when the previous one has finished (or, with
lookahead, earlier), and the controller needs some time for each candidate.
Durations are drawn from the record and scaled to another mean.
"""

import argparse
import heapq
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from detnas_mm.structures import SearchRecord
from detnas_mm.utils.cli import run_command


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('record', help='search_record.jsonl')
    parser.add_argument(
        '--seconds', type=float, help='mean duration; default: as recorded'
    )
    parser.add_argument(
        '--controller',
        type=float,
        default=0.01,
        help='seconds of the controller for each candidate',
    )
    parser.add_argument(
        '--workers', type=int, nargs='+', default=[1, 8, 20, 100]
    )
    parser.add_argument('--lookahead', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--generations', type=int, default=20)
    parser.add_argument('--population', type=int, default=50)
    return parser.parse_args()


def simulate(
    durations: Sequence[Sequence[float]],
    workers: int,
    *,
    lookahead: int = 0,
    controller: float = 0.0,
) -> float:
    """Return the seconds that a search takes.

    Args:
        durations: Seconds of each candidate, by generation.
        workers: Number of workers.
        lookahead: Number of generations that may start before the current
            one finishes.
        controller: Seconds of the controller for each finished candidate;
            it handles one at a time.
    """
    free = [0.0] * workers
    controller_free = 0.0
    finished: list[float] = []
    for generation, seconds in enumerate(durations):
        # The last generation whose results this one needs.
        known = generation - 1 - lookahead
        begin = finished[known] if known >= 0 else 0.0
        ends = []
        for duration in seconds:
            start = max(heapq.heappop(free), begin)
            ends.append(start + duration)
            heapq.heappush(free, start + duration)
        recorded = 0.0
        for end in sorted(ends):
            controller_free = max(controller_free, end) + controller
            recorded = controller_free
        finished.append(max(recorded, finished[-1] if finished else 0.0))
    return finished[-1]


def main() -> None:
    args = parse_args()
    record = SearchRecord.read(args.record)
    seconds = np.array([candidate.seconds for candidate in record.candidates])
    mean = args.seconds or seconds.mean()
    shape = (args.generations, args.population)
    rng = np.random.default_rng(0)
    durations = rng.choice(seconds * mean / seconds.mean(), size=shape)
    work = durations.sum()
    spread = seconds.std() / seconds.mean()
    table = Table(
        title=f'{args.generations} generations of {args.population}, '
        f'{mean:.4g} s a candidate (standard deviation {spread:.0%}), '
        f'controller {args.controller:g} s'
    )
    table.add_column('workers', justify='right')
    for lookahead in args.lookahead:
        table.add_column(f'lookahead {lookahead}: hours', justify='right')
        table.add_column('of the ideal', justify='right')
    for workers in args.workers:
        row = [str(workers)]
        for lookahead in args.lookahead:
            time = simulate(
                durations,
                workers,
                lookahead=lookahead,
                controller=args.controller,
            )
            row += [f'{time / 3600:.2f}', f'{work / workers / time:.0%}']
        table.add_row(*row)
    Console().print(table)


if __name__ == '__main__':
    run_command(main)
