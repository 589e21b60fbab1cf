"""Ground truth: networks of one space, each trained several times.

`extend` trains what the table lacks and continues where it was stopped. `add`
puts networks of a user's own into it, such as found ones, for `extend` to
train. `check` trains some networks again and compares. `report` prints how
much of the variance is due to the architecture, and where added networks
stand.

Each network is trained from the weights of a supernet, as a found one is, each
time from another supernet. Scores are compared with the results by supernets
of other seeds. Half of the networks are drawn digit by digit, half unevenly
by stage; most cost the same within 2 %, some cost anything.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mmdet
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from searches import (
    CONCENTRATION,
    SEARCH,
    STAGE_1,
    STAGE_2,
    UNEVEN,
    add_run_options,
    data_options,
    run_search,
    train_supernet,
)

import detnas_mm
from detnas_mm.cost import cost_table
from detnas_mm.engine.runner.candidate_training import TEST
from detnas_mm.structures import (
    RECORD,
    ArchPath,
    SearchRecord,
    SearchSpace,
    get_search_space,
)
from detnas_mm.utils.cli import run_command
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import write_atomically

FILE = Path(__file__).with_suffix('.json')
METRIC = 'coco/bbox_mAP'
RECIPE = {
    'space': 'elastic_tiny',
    # Scores of shorter supernets agree less.
    'supernet': {
        'configs': [STAGE_1.name, STAGE_2.name],
        'options': [*UNEVEN, 'model.backbone.entangled=False'],
        'epochs': [30, 15],
    },
    'training': {'config': SEARCH.name, 'share': 0.2},
    # Of the supernets; no score of theirs is compared with the results.
    'seeds': [0, 1, 2],
    'data': 'python tools/dataset_converters/digits.py --out data/digits',
}
# Networks of each group; half of them are drawn unevenly.
GROUPS = {'band': 48, 'free': 16}
TARGET_MACS = 22e6
TOLERANCE = 0.02


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--file', type=Path, default=FILE)
    commands = parser.add_subparsers(dest='command', required=True)
    variance = commands.add_parser('report', help='print the variance')
    add_split_option(variance)
    add = commands.add_parser('add', help='put networks into the table')
    add.add_argument('group', help='a name for them, such as found')
    add.add_argument('paths', nargs='+', metavar='DIGITS')
    extend = commands.add_parser('extend', help='train what is missing')
    check = commands.add_parser('check', help='train some again')
    check.add_argument('--nets', type=int, default=3, help='how many')
    for command in extend, check:
        add_run_options(command, 'digits_nets')
    return parser.parse_args()


def add_split_option(parser: argparse.ArgumentParser) -> None:
    """Add the option for the images of the results."""
    parser.add_argument(
        '--split',
        choices=('test', 'search'),
        default='test',
        help='images of the results that are reported',
    )


def draw_nets(space: SearchSpace, seed: int = 0) -> list[dict]:
    """Draw the networks of the table: always the same ones."""
    table = cost_table(space)
    nets: dict[ArchPath, dict] = {}
    rng = np.random.default_rng(seed)
    for group, count in GROUPS.items():
        for number in range(count):
            concentration = CONCENTRATION if number % 2 else None
            while True:
                path = space.random_path(rng, concentration)
                macs = table.macs(path)
                is_near = abs(macs / TARGET_MACS - 1) <= TOLERANCE
                if path not in nets and (is_near or group == 'free'):
                    break
            nets[path] = {
                **describe(space, path, group),
                'uneven': concentration is not None,
            }
    return list(nets.values())


def describe(space: SearchSpace, path: ArchPath, group: str) -> dict:
    """Return the entry of a network that is not trained yet."""
    table = cost_table(space)
    return {
        'path': space.format(path),
        'macs': table.macs(path),
        'params': table.params(path),
        'group': group,
        'test_map': [],
        'search_map': [],
    }


def train(
    paths: Sequence[str], seed: int, args: argparse.Namespace, name: str
) -> Path:
    """Train a supernet, and networks from its weights, or go on with them.

    Returns:
        The work dir of the trainings.
    """
    folder = args.out / f'seed{seed}'
    supernet = train_supernet(
        folder / 'supernet',
        seed,
        args.data,
        RECIPE['supernet']['options'],
        epochs=RECIPE['supernet']['epochs'],
    )
    tested = ['val_cfg.training.test=True']
    train_nets(supernet, folder / name, paths, tested, args)
    return folder / name


def train_nets(
    supernet: Path,
    work_dir: Path,
    paths: Sequence[str],
    options: Sequence[str],
    args: argparse.Namespace,
) -> None:
    """Train networks once, from the weights of a supernet, by the recipe."""
    run_search(
        SEARCH,
        supernet,
        work_dir,
        [
            *('--paths', *paths),
            '--cfg-options',
            f'val_cfg.training.share={RECIPE["training"]["share"]}',
            'val_cfg.training.seeds=1',
            *options,
            *data_options(args.data),
        ],
        args.processes,
    )


def results(folder: Path) -> dict[str, tuple[float, float]]:
    """Return the mAP of trained networks on the search and test split."""
    if not (folder / RECORD).exists():
        return {}
    return {
        # No metrics: nothing was predicted.
        candidate.path: (
            candidate.metrics.get(METRIC, 0.0),
            candidate.metrics.get(TEST + METRIC, 0.0),
        )
        for candidate in SearchRecord.read(folder).candidates
    }


def begin() -> dict:
    """Return a table whose networks are not trained yet."""
    space = get_search_space(RECIPE['space'])
    return {
        'recipe': RECIPE,
        'versions': {
            module.__name__: module.__version__
            for module in (detnas_mm, mmdet, torch)
        },
        'space': space.to_dict(),
        'nets': draw_nets(space),
    }


def read(file: Path) -> dict:
    """Read the table."""
    if not file.exists():
        raise InputError(
            f'there is no {file}; begin it by `digits_nets.py --file FILE '
            'extend`'
        )
    table = json.loads(file.read_text())
    if table['recipe'] != RECIPE:
        raise InputError(
            f'{file} has another recipe, {table["recipe"]}; give another '
            '--file'
        )
    return table


def extend(args: argparse.Namespace) -> None:
    """Train what each group lacks from one supernet, then from the next.

    What is trained when it is stopped comes into the table, too.
    """
    table = read(args.file) if args.file.exists() else begin()
    groups: dict[str, list[dict]] = {}
    for net in table['nets']:
        groups.setdefault(net['group'], []).append(net)
    for group, nets in groups.items():
        for number, seed in enumerate(RECIPE['seeds']):
            lacking = [n for n in nets if len(n['test_map']) <= number]
            if not lacking:
                continue
            name = f'{group}_from{len(nets) - len(lacking)}'
            try:
                train([net['path'] for net in lacking], seed, args, name)
            finally:
                found = results(args.out / f'seed{seed}' / name)
                for net in lacking:
                    _enter(net, number, found.get(net['path']))
                write_atomically(args.file, _json(table))


def _enter(net: dict, number: int, maps: tuple[float, float] | None) -> None:
    if maps is not None:
        net['search_map'][number:] = [maps[0]]
        net['test_map'][number:] = [maps[1]]


def _json(table: Mapping) -> str:
    return json.dumps(table, indent=1) + '\n'


def require_new_group(table: Mapping, group: str) -> None:
    """Check that no network of a table is in a group."""
    if group in {net['group'] for net in table['nets']}:
        raise InputError(
            f'the table has a group {group!r}; give another name, or another '
            '--file'
        )


def add(args: argparse.Namespace) -> None:
    """Put networks into the table, to be trained."""
    table = read(args.file)
    require_new_group(table, args.group)
    space = get_search_space(RECIPE['space'])
    for digits in args.paths:
        net = describe(space, space.parse(digits), args.group)
        table['nets'].append(net)
    write_atomically(args.file, _json(table))


def check(args: argparse.Namespace) -> None:
    """Repeat the first training of some networks, and compare."""
    trained = [net for net in read(args.file)['nets'] if net['test_map']]
    nets = trained[:: max(len(trained) // args.nets, 1)][: args.nets]
    known = {net['path']: net['test_map'][0] for net in nets}
    args.out = args.out / 'check'
    folder = train(list(known), RECIPE['seeds'][0], args, 'nets')
    for path, (_, test) in results(folder).items():
        print(f'{path}: {test:.4f}, {test - known[path]:+.4f} to the table')
    band = [net['test_map'] for net in trained if net['group'] == 'band']
    noise = Variance.of(np.array(band)).seed ** 0.5
    print(
        'The same kind of CPU gives differences of 0. In the table, two '
        'trainings from different supernets differ by less than '
        f'{1.96 * 2**0.5 * noise:.4f} in 19 of 20 cases.'
    )


@dataclass(frozen=True)
class Variance:
    """Spread of results, between networks and between trainings.

    Attributes:
        architecture: Variance between networks.
        seed: Variance between trainings of a network. What a training has in
            common with the trainings of all other networks from its supernet
            does not count: it changes no ranking.
    """

    architecture: float
    seed: float

    @classmethod
    def of(cls, results: np.ndarray) -> 'Variance':
        """Compute it from results of shape ``(networks, trainings)``."""
        nets, trainings = results.shape
        residuals = (
            results
            - results.mean(axis=1, keepdims=True)
            - results.mean(axis=0)
            + results.mean()
        )
        freedom = (nets - 1) * (trainings - 1)
        seed = float((residuals**2).sum() / freedom)
        total = float(results.mean(axis=1).var(ddof=1))
        return cls(max(total - seed / trainings, 0.0), seed)

    def share(self, trainings: int) -> float:
        """Share of the architecture in the mean of some trainings."""
        return self.architecture / (self.architecture + self.seed / trainings)


def percentile(results: np.ndarray | Sequence[float], result: float) -> float:
    """Return the share of results, in percent, that are not above one."""
    return 100 * float(np.mean(np.asarray(results) <= result))


def report(args: argparse.Namespace) -> None:
    """Print the noise of the table, and the place of added networks."""
    nets = [
        {**net, 'results': net[f'{args.split}_map']}
        for net in read(args.file)['nets']
        if net['test_map']
    ]
    grid = Table(title=f'{METRIC} on the {args.split} split')
    for column in (
        'networks', 'trained', 'mean by supernet', 'median', 'lowest',
        'highest', 'sd of networks', 'of trainings', 'share, 1', 'all',
    ):  # fmt: skip
        grid.add_column(column, justify='right')
    band = [net for net in nets if net['group'] == 'band']
    for name, members in {
        'equal cost': band,
        'equal cost, uneven': [net for net in band if net['uneven']],
        'free cost': [net for net in nets if net['group'] == 'free'],
    }.items():
        grid.add_row(name, *_row(members))
    Console(width=130).print(grid)
    added = [net for net in nets if net['group'] not in GROUPS]
    if added:
        Console(width=130).print(_added(band, added))


def _added(band: Sequence[Mapping], added: Sequence[Mapping]) -> Table:
    """Place added networks among the random ones of equal cost."""
    grid = Table(title='among the networks of equal cost')
    for column in (
        'network', 'path', 'MACs', 'mean', 'percentile', 'among uneven ones',
        'minus even, by supernet', 'mean',
    ):  # fmt: skip
        grid.add_column(column, justify='right')
    random = [np.mean(net['results']) for net in band]
    uneven = [np.mean(net['results']) for net in band if net['uneven']]
    # While they are trained, some lack a result.
    common = min(len(net['results']) for net in added)
    even = [net['results'] for net in added if net['group'] == 'even']
    groups: dict[str, list[np.ndarray]] = {}
    for net in added:
        mean = np.mean(net['results'])
        lead = np.array([])
        if even:
            lead = np.subtract(net['results'][:common], even[0][:common])
        if net['group'] != 'even':
            groups.setdefault(net['group'], []).append(lead)
        grid.add_row(
            net['group'],
            net['path'],
            f'{net["macs"] / 1e6:.1f}M',
            f'{mean:.4f}',
            f'{percentile(random, mean):.1f}',
            f'{percentile(uneven, mean):.1f}',
            *_lead(lead),
        )
    for name, leads in groups.items():
        grid.add_row(f'all {name}', *[''] * 5, *_lead(np.mean(leads, axis=0)))
    return grid


def _lead(lead: np.ndarray) -> list[str]:
    if not lead.size:
        return []
    return [', '.join(f'{v:+.4f}' for v in lead), f'{lead.mean():+.4f}']


def _row(nets: Sequence[Mapping]) -> list[str]:
    trainings = min((len(net['results']) for net in nets), default=0)
    if trainings < 2 or len(nets) < 3:
        return [f'{len(nets)} x {trainings}']
    results = np.array([net['results'][:trainings] for net in nets])
    variance = Variance.of(results)
    means = results.mean(axis=1)
    return [
        f'{len(nets)} x {trainings}',
        ', '.join(f'{mean:.3f}' for mean in results.mean(axis=0)),
        *(f'{v:.3f}' for v in (np.median(means), means.min(), means.max())),
        f'{variance.architecture**0.5:.4f}',
        f'{variance.seed**0.5:.4f}',
        f'{variance.share(1):.0%}',
        f'{variance.share(trainings):.0%}',
    ]


def main() -> None:
    args = parse_args()
    commands = {'add': add, 'extend': extend, 'check': check, 'report': report}
    commands[args.command](args)


if __name__ == '__main__':
    run_command(main)
