"""Ground truth: networks of one space, each trained several times.

`extend` trains what the table lacks, one network after another, and
continues where it was stopped. `check` trains some again and compares.
`report` prints how much of the variance is due to the architecture.

As in the paper, each network is pre-trained as a classifier and then trained
in a detector, both by itself and from random weights: no supernet has a part
in the results. Half of the networks are drawn digit by digit, half unevenly
by stage; most cost the same within 2 %, some cost anything.
"""

import argparse
import contextlib
import json
import multiprocessing
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import mmdet
import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table
from searches import (
    CONCENTRATION,
    CONFIGS,
    ROOT,
    add_processes_option,
    data_options,
)

import detnas_mm
from detnas_mm.compat import setup_compat
from detnas_mm.cost import cost_table
from detnas_mm.evaluation import use_exact_metrics
from detnas_mm.models import last_checkpoint
from detnas_mm.structures import ArchPath, SearchSpace, get_search_space
from detnas_mm.utils.cli import run_command
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import write_atomically

FILE = Path(__file__).with_suffix('.json')
DATA = ROOT / 'data/digits'
METRIC = 'coco/bbox_mAP'
RECIPE = {
    'space': 'elastic_tiny',
    'configs': [
        'detnas-elastic-tiny_digits-cls.py',
        'retinanet_detnas-elastic-tiny_fpn_digits.py',
    ],
    'seeds': [0, 1, 2],
    'data': 'python tools/dataset_converters/digits.py --out data/digits',
}
# Networks of each group; half of them are drawn unevenly.
GROUPS = {'band': 48, 'free': 16}
TARGET_MACS = 22e6
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
        help='folder for logs',
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
    path: str, seed: int, data: Path, folder: Path
) -> tuple[float, float]:
    """Train a network in both stages, with output to a file in a folder.

    Returns:
        Its mAP on the search split and on the test split.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    with (
        open(folder / f'{path}_seed{seed}.log', 'w') as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
        tempfile.TemporaryDirectory() as work_dir,
    ):
        setup_compat()
        pretraining = _runner(0, path, seed, data, f'{work_dir}/pretraining')
        pretraining.train()
        start = last_checkpoint(pretraining.work_dir)
        runner = _runner(1, path, seed, data, f'{work_dir}/training', start)
        runner.train()
        maps = []
        for loop in runner.val_loop, runner.test_loop:
            use_exact_metrics(loop.evaluator)
            # No metrics: nothing was predicted.
            maps.append(float(loop.run().get(METRIC, 0.0)))
    return tuple(maps)


def _runner(
    stage: int,
    path: str,
    seed: int,
    data: Path,
    work_dir: str,
    start: str | None = None,
) -> Runner:
    config = Config.fromfile(CONFIGS / RECIPE['configs'][stage])
    options = [f'model.backbone.path={path}', *data_options(data, stage + 1)]
    if start:
        options.append(f'model.backbone.init_cfg.checkpoint={start}')
    config.merge_from_dict(dict(option.split('=', 1) for option in options))
    config.randomness.seed = seed
    config.work_dir = work_dir
    # Loggers and visualizers of MMEngine are global, by name.
    config.experiment_name = f'{work_dir}_{path}_{seed}'
    config.visualizer = None
    # Validated after the training.
    config.train_cfg.val_begin = config.train_cfg.max_epochs + 1
    return Runner.from_cfg(config)


def train_all(
    jobs: Sequence[tuple[str, int]], args: argparse.Namespace
) -> Iterator[tuple[str, int, tuple[float, float]]]:
    """Train networks, several at a time; yield each when it is done."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['detnas_mm', 'mmdet.apis'])
    with ProcessPoolExecutor(args.processes, context) as pool:
        futures = {
            pool.submit(train, *job, args.data, args.out): job for job in jobs
        }
        try:
            for future in as_completed(futures):
                yield *futures[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def read(file: Path) -> dict:
    """Read the table, or begin one."""
    if not file.exists():
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
    table = json.loads(file.read_text())
    if table['recipe'] != RECIPE:
        raise InputError(
            f'{file} has another recipe, {table["recipe"]}; give another '
            '--file'
        )
    return table


def extend(args: argparse.Namespace) -> None:
    """Train what is missing: all networks with one seed, then with the next.

    A training that is stopped begins anew.
    """
    table = read(args.file)
    nets = {net['path']: net for net in table['nets']}
    jobs = [
        (path, seed)
        for number, seed in enumerate(RECIPE['seeds'])
        for path, net in nets.items()
        if len(net['test_map']) <= number
    ]
    for path, seed, (search, test) in train_all(jobs, args):
        nets[path]['search_map'].append(search)
        nets[path]['test_map'].append(test)
        write_atomically(args.file, json.dumps(table, indent=1) + '\n')
        print(f'{path}, seed {seed}: {test:.4f}', flush=True)


def check(args: argparse.Namespace) -> None:
    """Repeat the first training of some networks, and compare."""
    nets = [net for net in read(args.file)['nets'] if net['test_map']]
    nets = nets[:: max(len(nets) // args.nets, 1)]
    known = {net['path']: net['test_map'][0] for net in nets}
    jobs = [(path, RECIPE['seeds'][0]) for path in known]
    for path, _, (_, test) in train_all(jobs, args):
        print(f'{path}: {test:.4f}, {test - known[path]:+.4f} to the table')


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
