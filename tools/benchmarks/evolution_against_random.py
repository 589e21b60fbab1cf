"""Runs evolution and random search over several seeds, and compares them.

Each search is `tools/search.py` with the same budget; one that is complete
is not run again. Arguments that are not known here go to `tools/search.py`,
such as `--cfg-options val_cfg.generations=5`.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from detnas_mm.command_line import run_command
from detnas_mm.structures import SearchRecord, Status

ALGORITHMS = ('evolution', 'random')
SEARCH = Path(__file__).parents[1] / 'search.py'


def parse_args() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument('config', help='config of the search')
    parser.add_argument('checkpoint', help='checkpoint of the supernet')
    parser.add_argument(
        '--seeds', type=int, nargs='+', default=[0, 1, 2], help='seeds'
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs/evolution_against_random'),
        help='folder of the work dirs of the searches',
    )
    return parser.parse_known_args()


def search(
    args: argparse.Namespace, algorithm: str, seed: int, rest: list[str]
) -> list[float]:
    """Runs a search; returns the fitness of its candidates in order."""
    work_dir = args.out / f'{algorithm}_seed{seed}'
    command = [sys.executable, str(SEARCH), args.config, args.checkpoint]
    command += ['--work-dir', str(work_dir), '--resume', '--seed', str(seed)]
    command += ['--algorithm', algorithm, *rest]
    subprocess.run(command, check=True)
    record = SearchRecord.read(work_dir / 'search_record.jsonl')
    return [
        candidate.fitness
        for candidate in record.candidates
        if candidate.status is Status.COMPLETE
    ]


def main() -> None:
    args, rest = parse_args()
    table = Table(title='Best fitness, evolution against random search')
    for column in ('seed', 'candidates', *ALGORITHMS, 'evolution wins'):
        table.add_column(column, justify='right')
    wins = 0
    for seed in args.seeds:
        fitness = {
            algorithm: search(args, algorithm, seed, rest)
            for algorithm in ALGORITHMS
        }
        best = {name: max(values) for name, values in fitness.items()}
        win = best['evolution'] >= best['random']
        wins += win
        table.add_row(
            str(seed),
            str(len(fitness['evolution'])),
            *(f'{best[name]:.4f}' for name in ALGORITHMS),
            'yes' if win else 'no',
        )
    Console().print(table)
    print(
        f'evolution is at least as good on {wins} of {len(args.seeds)} seeds'
    )


if __name__ == '__main__':
    run_command(main)
