"""Ground truth: networks of one space, each trained several times.

`extend` trains the networks that the table lacks, one line at a time, and
continues where it was stopped. `check` trains some again and compares.
`report` prints how much of the variance is due to the architecture.

The networks of the table are trained from the weights of a supernet, as the
finalists of a search are. Each of the trainings of a network starts from a
supernet of its own, with a seed that no search uses. Half of the networks
are drawn digit by digit, half unevenly by stage; most cost the same within
2 %, some cost anything.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from searches import (
    CONCENTRATION,
    ROOT,
    SEARCH,
    add_processes_option,
    data_options,
    run_search,
    train_supernet,
)

from detnas_mm.cost import cost_table
from detnas_mm.structures import (
    ArchPath,
    Candidate,
    SearchSpace,
    get_search_space,
)
from detnas_mm.utils.cli import run_command
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import write_atomically

FILE = Path(__file__).with_suffix('.json')
DATA = ROOT / 'data/digits_nets'
METRIC = 'coco/bbox_mAP'
RECIPE = {
    'space': 'elastic_tiny',
    'supernet_seeds': [100, 101, 102],
    'training': {'seeds': 1, 'share': 0.25, 'test': True},
    'data': 'python tools/dataset_converters/digits.py --out data/digits_nets '
    '--search-images 400 --test-images 600',
}
# Networks of each group; half of them are drawn unevenly.
GROUPS = {'band': 48, 'free': 16}
TARGET_MACS = 60e6
TOLERANCE = 0.02


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('command', choices=['extend', 'check', 'report'])
    parser.add_argument('--file', type=Path, default=FILE)
    parser.add_argument('--data', type=Path, default=DATA)
    parser.add_argument(
        '--out',
        type=Path,
        default=ROOT / 'work_dirs/digits_nets',
        help='folder for supernets and trainings',
    )
    add_processes_option(parser)
    parser.add_argument(
        '--nets', type=int, default=3, help='networks that `check` trains'
    )
    return parser.parse_args()


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
                'path': space.format(path),
                'macs': macs,
                'params': table.params(path),
                'group': group,
                'uneven': concentration is not None,
                'test_map': [],
                'search_map': [],
            }
    return list(nets.values())


def train(
    paths: Sequence[str], number: int, args: argparse.Namespace, work_dir: Path
) -> list[Candidate]:
    """Train networks from the weights of one of the supernets."""
    seed = RECIPE['supernet_seeds'][number]
    supernet = train_supernet(
        args.out / f'supernet_seed{seed}', seed, args.data
    )
    settings = [
        f'val_cfg.training.{key}={value}'
        for key, value in RECIPE['training'].items()
    ]
    return run_search(
        SEARCH, supernet, work_dir,
        [
            '--paths', *paths,
            '--cfg-options', *settings, *data_options(args.data),
        ],
        args.processes,
    )  # fmt: skip


def read(file: Path) -> dict:
    """Read the table, or begin one."""
    if not file.exists():
        space = get_search_space(RECIPE['space'])
        return {
            'recipe': RECIPE,
            'space': space.to_dict(),
            'nets': draw_nets(space),
        }
    table = json.loads(file.read_text())
    if table['recipe'] != RECIPE:
        raise InputError(
            f'{file} has another recipe, {table["recipe"]}; give another '
            '--file'
        )
    return table


def extend(args: argparse.Namespace) -> None:
    """Train what is missing, all networks from one supernet after another.

    The search that trains them can be stopped at any time.
    """
    table = read(args.file)
    paths = [net['path'] for net in table['nets']]
    for number, seed in enumerate(RECIPE['supernet_seeds']):
        if all(len(net['test_map']) > number for net in table['nets']):
            continue
        work_dir = args.out / f'nets_seed{seed}'
        trained = {c.path: c for c in train(paths, number, args, work_dir)}
        for net in table['nets']:
            metrics = trained[net['path']].metrics
            # No metrics: nothing was predicted.
            net['test_map'].append(metrics.get(f'test/{METRIC}', 0.0))
            net['search_map'].append(metrics.get(METRIC, 0.0))
        write_atomically(args.file, json.dumps(table, indent=1) + '\n')


def check(args: argparse.Namespace) -> None:
    """Repeat the first training of some networks, and compare."""
    nets = [net for net in read(args.file)['nets'] if net['test_map']]
    nets = nets[:: max(len(nets) // args.nets, 1)]
    known = {net['path']: net['test_map'][0] for net in nets}
    with tempfile.TemporaryDirectory() as folder:
        for candidate in train(list(known), 0, args, Path(folder)):
            test = candidate.metrics[f'test/{METRIC}']
            difference = test - known[candidate.path]
            print(
                f'{candidate.path}: {test:.4f}, {difference:+.4f} to the table'
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


def report(args: argparse.Namespace) -> None:
    """Print the noise of the table."""
    nets = [net for net in read(args.file)['nets'] if net['test_map']]
    grid = Table(title=f'{METRIC} on the test split')
    for column in (
        'networks', 'trained', 'mean', 'lowest', 'highest', 'sd of networks',
        'sd of trainings', 'share, 1', 'share, all',
    ):  # fmt: skip
        grid.add_column(column, justify='right')
    for name, members in {
        'equal cost': [n for n in nets if n['group'] == 'band'],
        'equal cost, uneven': [
            n for n in nets if n['group'] == 'band' and n['uneven']
        ],
        'free cost': [n for n in nets if n['group'] == 'free'],
    }.items():
        grid.add_row(name, *_row(members))
    Console(width=120).print(grid)


def _row(nets: Sequence[Mapping]) -> list[str]:
    trainings = min((len(net['test_map']) for net in nets), default=0)
    if trainings < 2 or len(nets) < 3:
        return [f'{len(nets)} x {trainings}']
    results = np.array([net['test_map'][:trainings] for net in nets])
    variance = Variance.of(results)
    means = results.mean(axis=1)
    return [
        f'{len(nets)} x {trainings}',
        *(f'{v:.3f}' for v in (means.mean(), means.min(), means.max())),
        f'{variance.architecture**0.5:.4f}',
        f'{variance.seed**0.5:.4f}',
        f'{variance.share(1):.0%}',
        f'{variance.share(trainings):.0%}',
    ]


def main() -> None:
    args = parse_args()
    {'extend': extend, 'check': check, 'report': report}[args.command](args)


if __name__ == '__main__':
    run_command(main)
