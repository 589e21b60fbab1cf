"""Run evolution and random search over several seeds and compare them.

Each search is a run of `tools/search.py` with the same budget; a complete one
is not repeated. Unknown arguments are passed on to `tools/search.py`, such as
`--cfg-options val_cfg.generations=5`.
"""

import argparse
from pathlib import Path

from measuring import add_json_option, report
from searches import run_search

from detnas_mm.structures import best_candidate
from detnas_mm.utils.cli import run_command

ALGORITHMS = ('evolution', 'random')


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
        help='folder for the work dirs of the searches',
    )
    add_json_option(parser)
    return parser.parse_known_args()


def main() -> None:
    args, options = parse_args()
    rows = []
    for seed in args.seeds:
        row = {'seed': seed}
        for name in ALGORITHMS:
            candidates = run_search(
                args.config,
                args.checkpoint,
                args.out / f'{name}_seed{seed}',
                ['--seed', seed, '--algorithm', name, *options],
            )
            row['candidates'] = len(candidates)
            row[name] = best_candidate(candidates).fitness
        row['difference'] = row['evolution'] - row['random']
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
