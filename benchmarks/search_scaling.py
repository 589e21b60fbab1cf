"""Measure how many candidates per hour several workers evaluate.

Each run is a search by `tools/search.py` with its own work dir. The clock
starts once every worker has finished a candidate and ends with the last
candidate, so the start of the processes does not count. On a shared machine
look at the share of the time in which workers evaluate and at the CPU time of
a candidate: neither depends much on other work. Unknown arguments are passed
on to `tools/search.py`, such as `--cfg-options val_cfg.generations=4`.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from searches import SEARCH

from detnas_mm.structures import RECORD, SearchRecord
from detnas_mm.utils.cli import run_command
from detnas_mm.utils.errors import InputError

_PORT = 29741


@dataclass(frozen=True)
class Throughput:
    """The result of one run.

    Attributes:
        per_hour: Candidates per hour.
        seconds: Mean duration of an evaluation.
        busy: Share of the time in which workers evaluate.
        cpu: CPU seconds of all processes per candidate.
    """

    per_hour: float
    seconds: float
    busy: float
    cpu: float


def parse_args() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument('config', help='config of the search')
    parser.add_argument('checkpoint', help='checkpoint of the supernet')
    parser.add_argument(
        '--workers', type=int, nargs='+', default=[1, 2], help='how many'
    )
    parser.add_argument(
        '--executors',
        nargs='+',
        choices=['torchrun', 'ray'],
        default=['torchrun', 'ray'],
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs/search_scaling'),
        help='folder for the work dirs of the searches',
    )
    return parser.parse_known_args()


def build_command(
    args: argparse.Namespace,
    executor: str,
    workers: int,
    work_dir: Path,
    options: list[str],
) -> list[str]:
    """Return the command line of one run."""
    search = [str(SEARCH), args.config, args.checkpoint, '--overwrite']
    search += ['--work-dir', str(work_dir)]
    if executor == 'torchrun':
        return [
            sys.executable, '-m', 'torch.distributed.run',
            f'--master_port={_PORT}', f'--nproc_per_node={workers}',
            *search, '--launcher', 'pytorch', *options,
        ]  # fmt: skip
    options = list(options)
    if '--cfg-options' not in options:
        options.append('--cfg-options')
    options.append(f'val_cfg.executor.workers={workers}')
    return [sys.executable, *search, '--executor', 'ray', *options]


def num_recorded(record: Path) -> int:
    """Return the number of candidates in a record, 0 if there is none."""
    if not record.exists():
        return 0
    return max(0, record.read_bytes().count(b'\n') - 1)


def cpu_seconds(root: int) -> float:
    """Return the CPU time of a process and of all its descendants."""
    parents, ticks = {}, {}
    for file in Path('/proc').glob('[0-9]*/stat'):
        with contextlib.suppress(OSError):
            fields = file.read_text().rpartition(')')[2].split()
            pid = int(file.parent.name)
            parents[pid] = int(fields[1])
            # User and system time, and both of children that have ended.
            ticks[pid] = sum(map(int, fields[11:15]))
    total, family = 0, [root]
    while family:
        pid = family.pop()
        total += ticks.get(pid, 0)
        family += [child for child, parent in parents.items() if parent == pid]
    return total / os.sysconf('SC_CLK_TCK')


def run(command: list[str], work_dir: Path, workers: int) -> Throughput:
    """Run a search and watch its record grow."""
    record = work_dir / RECORD
    record.unlink(missing_ok=True)
    seen: list[float] = []
    # CPU time at the start of the clock and at the last candidate.
    cpu: list[float] = []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            new = num_recorded(record) - len(seen)
            seen += [time.monotonic()] * new
            if new > 0 and len(seen) >= workers:
                cpu = [*cpu[:1], cpu_seconds(process.pid)]
            time.sleep(0.05)
    if process.returncode:
        raise RuntimeError(
            f'{" ".join(command)} ended with code {process.returncode}; run '
            'it alone to see why'
        )
    candidates = SearchRecord.read(record).candidates
    seconds = [candidate.seconds for candidate in candidates]
    counted = len(seconds) - workers
    if counted < 1:
        raise InputError(
            f'a search by {workers} workers needs more than {workers} '
            f'candidates, got {len(seconds)}: raise val_cfg.generations'
        )
    # Includes the first evaluation, which began before the clock started.
    whole = seen[-1] - seen[0] + seconds[0]
    return Throughput(
        per_hour=3600 * counted / (seen[-1] - seen[workers - 1]),
        seconds=sum(seconds) / len(seconds),
        busy=sum(seconds) / whole / workers,
        cpu=(cpu[-1] - cpu[0]) / counted,
    )


def main() -> None:
    args, options = parse_args()
    table = Table(title=f'Candidates per hour, {os.cpu_count()} CPU cores')
    for column in ('executor', 'workers', 'per hour', 'of the ideal',
                   'busy', 's each', 'CPU s each'):  # fmt: skip
        table.add_column(column, justify='right')
    for executor in args.executors:
        alone = None
        for workers in args.workers:
            work_dir = args.out / f'{executor}_{workers}'
            command = build_command(args, executor, workers, work_dir, options)
            result = run(command, work_dir, workers)
            alone = alone or result.per_hour / workers
            table.add_row(
                executor,
                str(workers),
                f'{result.per_hour:.0f}',
                f'{result.per_hour / (alone * workers):.0%}',
                f'{result.busy:.0%}',
                f'{result.seconds:.2f}',
                f'{result.cpu:.2f}',
            )
    Console().print(table)


if __name__ == '__main__':
    run_command(main)
