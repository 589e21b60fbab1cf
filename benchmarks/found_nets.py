"""Search several times, and put what is found into the ground truth.

`search WAY` runs `tools/search.py` in supernets of `rank_study.py score WAY`,
and `tools/finalists.py` for each search; complete ones are not repeated. The
winners and the even network join the table of `digits_nets.py`, whose `extend`
trains them as the random networks, and whose `report` places them. Without a
command it searches nothing: it prints what the networks of each search had
when they were trained from the supernet of the search.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import digits_nets
import numpy as np
import rank_study
from rich.console import Console
from rich.table import Table
from searches import (
    SEARCH,
    add_run_options,
    data_options,
    run_search,
    run_tool,
)

from detnas_mm.cost import cost_table
from detnas_mm.search import even_path
from detnas_mm.structures import SearchRecord, get_search_space
from detnas_mm.utils.cli import run_command
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import write_atomically

FILE = Path(__file__).with_name('digits_found.json')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--file', type=Path, default=digits_nets.FILE)
    parser.add_argument('--found', type=Path, default=FILE)
    commands = parser.add_subparsers(dest='command')
    search = commands.add_parser('search', help='search and train finalists')
    search.add_argument('way', choices=[*rank_study.WAYS])
    search.add_argument(
        '--supernets', type=int, nargs='+', default=[10, 11], help='seeds'
    )
    search.add_argument(
        '--searches', type=int, default=5, help='in all supernets together'
    )
    search.add_argument('--top', type=int, default=4, help='finalists')
    add_run_options(search, 'rank_study')
    return parser.parse_args()


def find(supernet_seed: int, seed: int, args: argparse.Namespace) -> dict:
    """Search in a supernet, train the finalists, and return the results."""
    trained = rank_study.supernet_folder(args.out, args.way, supernet_seed)
    supernet = rank_study.trained_supernet(trained)
    folder = trained / f'search_seed{seed}'
    entangled = rank_study.WAYS[args.way].entangled
    options = [
        '--seed', seed, '--cfg-options',
        f'model.backbone.entangled={entangled}', *data_options(args.data),
    ]  # fmt: skip
    run_search(SEARCH, supernet, folder, options, args.processes)
    share = digits_nets.RECIPE['training']['share']
    run_tool(
        'finalists.py', folder, '--resume', '--test', '--top', args.top,
        '--seeds', 1, '--share', share, processes=args.processes,
    )  # fmt: skip
    return {
        'way': args.way,
        'supernet': supernet_seed,
        'search': seed,
        'nets': read_finalists(folder),
    }


def read_finalists(folder: Path) -> list[dict]:
    """Return what the finalists of a search had, the winner first."""
    names = json.loads((folder / 'finalists/nets.json').read_text())
    scores = {c.path: c.fitness for c in SearchRecord.read(folder).candidates}
    trained = digits_nets.results(folder / 'finalists')
    return [
        {
            'name': names[path],
            'path': path,
            'score': scores.get(path),
            'search_map': search_map,
            'test_map': test_map,
        }
        for path, (search_map, test_map) in sorted(
            trained.items(), key=lambda item: -item[1][0]
        )
    ]


def search(args: argparse.Namespace) -> None:
    """Search, and add the results to both files."""
    group = f'found, {args.way}'
    digits_nets.require_new_group(digits_nets.read(args.file), group)
    searches = [
        find(args.supernets[number % len(args.supernets)], number, args)
        for number in range(args.searches)
    ]
    known = json.loads(args.found.read_text()) if args.found.exists() else []
    known = [row for row in known if row['way'] != args.way]
    write_atomically(args.found, json.dumps(known + searches, indent=1) + '\n')
    found = [_winner(row)['path'] for row in searches]
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


def _winner(row: Mapping) -> dict:
    return next(n for n in row['nets'] if n['name'].startswith('search'))


def report(args: argparse.Namespace) -> None:
    """Print the mAP of the trained networks of each search."""
    if not args.found.exists():
        raise InputError(
            f'there is no {args.found}; fill it by `found_nets.py search WAY`'
        )
    table = Table(title='mAP on the search split; in brackets: test split')
    for column in ('way', 'supernet', 'search', 'best finalist', 'by score'):
        table.add_column(column)
    for column in ('even', 'random', 'others'):
        table.add_column(column)
    leads: dict[str, list[list[float]]] = {}
    for row in json.loads(args.found.read_text()):
        best, nets = _winner(row), {net['name']: net for net in row['nets']}
        others = [
            net
            for name, net in nets.items()
            if name.startswith('search') and net is not best
        ]
        table.add_row(
            row['way'],
            f'{row["supernet"]}',
            f'{row["search"]}',
            f'{best["path"]} {_map(best)}',
            _map(nets['search, 1']),
            f'{nets["even"]["path"]} {_map(nets["even"])}',
            _map(nets['random']),
            ', '.join(_map(net) for net in others),
        )
        # The best finalist was chosen by this very score.
        score = nets['search, 1']['search_map']
        leads.setdefault(row['way'], []).append(
            [score - nets[name]['search_map'] for name in ('even', 'random')]
        )
    Console(width=170).print(table)
    leads['all'] = sum(leads.values(), [])
    for way, values in leads.items():
        wins = np.sum(np.array(values) > 0, axis=0)
        even, random = np.mean(values, axis=0)
        print(
            f'{way}: the best by score is ahead of the even network by '
            f'{even:+.4f} in the mean and in {wins[0]} of {len(values)} '
            f'searches, of the random one by {random:+.4f} and in {wins[1]}'
        )


def _map(net: Mapping) -> str:
    test = net['test_map']
    return f'{net["search_map"]:.3f}' + (f' ({test:.3f})' if test else '')


def main() -> None:
    args = parse_args()
    if args.command == 'search':
        search(args)
    else:
        report(args)


if __name__ == '__main__':
    run_command(main)
