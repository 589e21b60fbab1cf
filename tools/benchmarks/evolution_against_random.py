"""Runs evolution and random search over several seeds, and compares them.

Each search is `tools/search.py` with the same budget; one that is complete
is not run again. Arguments that are not known here go to `tools/search.py`,
such as `--cfg-options val_cfg.generations=5`.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from measuring import add_json_option, report

from detnas_mm.structures import (
    RECORD,
    Candidate,
    SearchRecord,
    best_candidate,
)
from detnas_mm.utils.cli import run_command

ALGORITHMS = ('evolution', 'random')
SEARCH = Path(__file__).parents[1] / 'search.py'


def parse_args() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    add_search_options(parser, out='work_dirs/evolution_against_random')
    add_json_option(parser)
    return parser.parse_known_args()


def add_search_options(parser: argparse.ArgumentParser, out: str) -> None:
    """Adds the options of searches over several seeds.

    Args:
        parser: The parser.
        out: Where their work dirs are by default.
    """
    parser.add_argument('config', help='config of the search')
    parser.add_argument('checkpoint', help='checkpoint of the supernet')
    parser.add_argument(
        '--seeds', type=int, nargs='+', default=[0, 1, 2], help='seeds'
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path(out),
        help='folder of the work dirs of the searches',
    )


def run_search(
    args: argparse.Namespace, name: str, seed: int, options: list[str]
) -> list[Candidate]:
    """Runs a search to its end, unless it is there; returns its candidates.

    Args:
        args: ``config``, ``checkpoint``, and ``out``, the folder of all.
        name: Its work dir has it and the seed.
        seed: Its seed.
        options: Further options of `tools/search.py`.
    """
    work_dir = args.out / f'{name}_seed{seed}'
    command = [sys.executable, str(SEARCH), args.config, args.checkpoint]
    command += ['--work-dir', str(work_dir), '--resume', '--seed', str(seed)]
    subprocess.run([*command, *options], check=True)
    record = SearchRecord.read(work_dir / RECORD)
    return list(record.candidates)


def main() -> None:
    args, rest = parse_args()
    rows = []
    for seed in args.seeds:
        searches = {
            name: run_search(args, name, seed, ['--algorithm', name, *rest])
            for name in ALGORITHMS
        }
        best = {
            name: best_candidate(candidates).fitness
            for name, candidates in searches.items()
        }
        row = {'seed': seed, 'candidates': len(searches['evolution']), **best}
        row['difference'] = best['evolution'] - best['random']
        rows.append(row)
    report(
        'Best fitness, evolution against random search',
        rows,
        args,
        config=args.config,
    )
    better = sum(row['difference'] > 0 for row in rows)
    print(f'evolution is better on {better} of {len(rows)} seeds')


if __name__ == '__main__':
    run_command(main)
