"""Ground truth: networks of one space, each trained several times.

`extend` trains the networks that the file lacks, one line at a time, and
continues where it was stopped. `check` trains some again and compares.
`report` prints how much of the variance is due to the architecture, and how
well cost ranks the networks. Half of the networks are drawn digit by digit,
half unevenly by stage; most cost the same within 2 %, some cost anything.
"""

import argparse
import json
import multiprocessing
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table

from detnas_mm.compat import setup_compat
from detnas_mm.cost import cost_table
from detnas_mm.engine.runner.candidate_training import shorten_loop
from detnas_mm.evaluation import use_exact_metrics
from detnas_mm.evaluation.rank_correlation import kendall
from detnas_mm.structures import ArchPath, SearchSpace, get_search_space
from detnas_mm.utils.cli import run_command
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import write_atomically

ROOT = Path(__file__).resolve().parents[1]
FILE = Path(__file__).with_suffix('.json')
METRIC = 'coco/bbox_mAP'
RECIPE = {
    'space': 'elastic_tiny',
    'classifier': 'configs/digits/detnas-elastic-tiny_digits-cls.py',
    'detector': 'configs/digits/retinanet_detnas-elastic-tiny_fpn_digits.py',
    'data': 'python tools/dataset_converters/digits.py --train-images 4000 '
    '--search-images 400 --test-images 600',
}
# Networks of each group; half of them are drawn unevenly.
GROUPS = {'band': 48, 'free': 16}
TARGET_MACS = 60e6
TOLERANCE = 0.02
CONCENTRATION = 0.4
SEEDS = 3


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('command', choices=['extend', 'check', 'report'])
    parser.add_argument('--file', type=Path, default=FILE)
    parser.add_argument('--data', type=Path, default=ROOT / 'data/digits_nets')
    parser.add_argument(
        '--jobs', type=int, default=2, help='trainings at a time'
    )
    parser.add_argument('--trainings', type=int, help='stop after this many')
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


@dataclass(frozen=True)
class Job:
    """A training: the digits of a path, and a seed."""

    path: str
    seed: int


def train(job: Job, data: Path) -> tuple[float, float]:
    """Train a network in both stages; return its mAP on test and search."""
    setup_compat()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        classifier = load_config(RECIPE['classifier'], job, folder)
        classifier.train_dataloader.dataset.data_root = str(
            data / 'classification'
        )
        classifier.val_cfg = None
        classifier.val_dataloader = classifier.val_evaluator = None
        Runner.from_cfg(classifier).train()
        weights = next(Path(folder).glob('*.pth'))
        detector = load_config(RECIPE['detector'], job, folder)
        detector.model.backbone.init_cfg.checkpoint = str(weights)
        for split in ('train', 'search', 'test'):
            name = {'search': 'val'}.get(split, split)
            detector[f'{name}_dataloader'].dataset.data_root = str(data)
            if split != 'train':
                file = data / f'annotations/instances_{split}.json'
                detector[f'{name}_evaluator'].ann_file = str(file)
        shorten_loop(detector, 1.0)
        runner = Runner.from_cfg(detector)
        runner.train()
        scores = []
        for loop in (runner.test_loop, runner.val_loop):
            use_exact_metrics(loop.evaluator)
            # No metrics: nothing was predicted.
            scores.append(loop.run().get(METRIC, 0.0))
    return tuple(scores)


def load_config(name: str, job: Job, folder: str) -> Config:
    config = Config.fromfile(ROOT / name)
    config.model.backbone.path = job.path
    config.randomness = dict(seed=job.seed)
    config.work_dir = folder
    config.experiment_name = f'{Path(name).stem}_{job.path}_{job.seed}'
    config.log_level = 'WARNING'
    config.visualizer.vis_backends = []
    for split in ('train', 'val', 'test'):
        loader = config[f'{split}_dataloader']
        loader.num_workers, loader.persistent_workers = 0, False
    return config


def run_jobs(
    jobs: Sequence[Job], args: argparse.Namespace
) -> Iterator[tuple[Job, tuple[float, float]]]:
    """Yield each job with its scores, in the order of finishing."""
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(args.jobs, context) as pool:
        futures = {
            pool.submit(partial(train, data=args.data), job): job
            for job in jobs
        }
        for future in as_completed(futures):
            yield futures[future], future.result()


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
    """Train what is missing, first one seed of all networks."""
    table = read(args.file)
    jobs = [
        Job(net['path'], seed)
        for seed in range(SEEDS)
        for net in table['nets']
        if len(net['test_map']) <= seed
    ][: args.trainings]
    nets = {net['path']: net for net in table['nets']}
    finished: dict[Job, tuple[float, float]] = {}
    for job, scores in run_jobs(jobs, args):
        finished[job] = scores
        net = nets[job.path]
        # In the order of the seeds, whatever the order of finishing.
        while (following := Job(job.path, len(net['test_map']))) in finished:
            test, search = finished[following]
            net['test_map'].append(test)
            net['search_map'].append(search)
        write_atomically(args.file, json.dumps(table, indent=1) + '\n')
        print(job, scores, flush=True)


def check(args: argparse.Namespace) -> None:
    """Train the first seed of some networks again, and compare."""
    nets = [net for net in read(args.file)['nets'] if net['test_map']]
    nets = nets[:: max(len(nets) // (args.trainings or 3), 1)]
    jobs = [Job(net['path'], 0) for net in nets]
    known = {net['path']: net['test_map'][0] for net in nets}
    for job, (test, _) in run_jobs(jobs, args):
        difference = test - known[job.path]
        print(f'{job.path}: {test:.4f}, {difference:+.4f} to the table')


@dataclass(frozen=True)
class Variance:
    """Spread of results, between networks and between seeds."""

    architecture: float
    seed: float

    @classmethod
    def of(cls, results: np.ndarray) -> 'Variance':
        """Compute it from results of shape ``(networks, seeds)``."""
        seeds = results.shape[1]
        seed = results.var(axis=1, ddof=1).mean()
        total = results.mean(axis=1).var(ddof=1)
        return cls(max(total - seed / seeds, 0.0), seed)

    def share(self, trainings: int) -> float:
        """Share of the architecture in the mean of some trainings."""
        return self.architecture / (self.architecture + self.seed / trainings)


def report(args: argparse.Namespace) -> None:
    """Print the noise of the table, and what cost tells about it."""
    nets = read(args.file)['nets']
    grid = Table(title=f'{METRIC} on the test split')
    for column in (
        'nets', 'trained', 'mean', 'sd of nets', 'sd of seeds', 'share, 1',
        'share, 3', 'tau of MACs', 'tau of params',
    ):  # fmt: skip
        grid.add_column(column, justify='right')
    groups = {
        'band': [n for n in nets if n['group'] == 'band'],
        'band, uneven': [
            n for n in nets if n['group'] == 'band' and n['uneven']
        ],
        'free': [n for n in nets if n['group'] == 'free'],
    }
    for name, members in groups.items():
        grid.add_row(name, *_row(members))
    Console(width=120).print(grid)


def _row(nets: Sequence[Mapping]) -> list[str]:
    seeds = min((len(net['test_map']) for net in nets), default=0)
    if seeds < 2:
        nets = [net for net in nets if len(net['test_map']) >= 2]
        seeds = min((len(net['test_map']) for net in nets), default=0)
    if len(nets) < 3:
        return [str(len(nets))]
    results = np.array([net['test_map'][:seeds] for net in nets])
    variance = Variance.of(results)
    means = results.mean(axis=1)
    taus = [
        kendall(np.array([net[key] for net in nets], float), means)
        for key in ('macs', 'params')
    ]
    return [
        f'{len(nets)} x {seeds}',
        f'{means.mean():.3f}',
        f'{variance.architecture**0.5:.4f}',
        f'{variance.seed**0.5:.4f}',
        f'{variance.share(1):.0%}',
        f'{variance.share(3):.0%}',
        *(f'{tau:.2f}' for tau in taus),
    ]


def main() -> None:
    args = parse_args()
    {'extend': extend, 'check': check, 'report': report}[args.command](args)


if __name__ == '__main__':
    run_command(main)
