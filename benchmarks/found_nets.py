"""Search several times, and put what is found into the ground truth.

Each search is a run of `tools/search.py` in a supernet of `rank_study.py score
WAY`, and one of `tools/finalists.py`; complete ones are not repeated. The
winners and the even network join the table of `digits_nets.py`, whose
`extend` trains them as the random networks, and whose `report` places them.
"""

import argparse
import json
from pathlib import Path

import digits_nets
import rank_study
from searches import (
    SEARCH,
    add_run_options,
    data_options,
    run_search,
    run_tool,
)

from detnas_mm.cost import cost_table
from detnas_mm.search import even_path
from detnas_mm.structures import get_search_space
from detnas_mm.utils.cli import run_command


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('way', choices=[*rank_study.WAYS])
    parser.add_argument(
        '--supernets', type=int, nargs='+', default=[10, 11], help='seeds'
    )
    parser.add_argument(
        '--searches', type=int, default=5, help='in all supernets together'
    )
    parser.add_argument('--top', type=int, default=4, help='finalists')
    parser.add_argument('--file', type=Path, default=digits_nets.FILE)
    add_run_options(parser, 'rank_study')
    return parser.parse_args()


def find(supernet_seed: int, seed: int, args: argparse.Namespace) -> str:
    """Search in a supernet and return the path of the best finalist."""
    trained = rank_study.supernet_folder(args.out, args.way, supernet_seed)
    supernet = rank_study.trained_supernet(trained)
    folder = trained / f'search_seed{seed}'
    options = ['--seed', seed, '--cfg-options', *data_options(args.data)]
    run_search(SEARCH, supernet, folder, options, args.processes)
    share = digits_nets.RECIPE['training']['share']
    run_tool(
        'finalists.py', folder, '--resume', '--top', args.top, '--seeds', 1,
        '--share', share, processes=args.processes,
    )  # fmt: skip
    best = json.loads((folder / 'finalists/best.json').read_text())
    return best['path']


def main() -> None:
    args = parse_args()
    group = f'found, {args.way}'
    digits_nets.require_new_group(digits_nets.read(args.file), group)
    found = [
        find(args.supernets[number % len(args.supernets)], number, args)
        for number in range(args.searches)
    ]
    space = get_search_space(digits_nets.RECIPE['space'])
    target = int(digits_nets.TARGET_MACS)
    even = space.format(even_path(space, cost_table(space).macs, target))
    known = {net['path'] for net in digits_nets.read(args.file)['nets']}
    for name, paths in ((group, found), ('even', [even])):
        print(f'{name}: {", ".join(paths)}')
        # Two searches may find one network.
        new = [path for path in dict.fromkeys(paths) if path not in known]
        if new:
            args.group, args.paths = name, new
            digits_nets.add(args)


if __name__ == '__main__':
    run_command(main)
