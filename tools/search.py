"""Searches the paths of a trained supernet (Section 3.4 of the paper)."""

import argparse
import inspect
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from detnas_mm.compat import setup_compat
from detnas_mm.engine.checks import require_new_record
from detnas_mm.engine.data_checks import require_data
from detnas_mm.engine.search.settings import SearchSettings
from detnas_mm.executors.launched import read_launch_rank
from detnas_mm.registry import ALGORITHMS
from detnas_mm.structures import COSTS, RECORD
from detnas_mm.utils.cli import (
    add_common_arguments,
    is_search,
    load_config,
    run_command,
)
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import require_writable

ALGORITHM_NAMES = {
    'evolution': 'Evolution',
    'random': 'RandomSearch',
    'surrogate': 'SurrogateEvolution',
}


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of the search')
    parser.add_argument('checkpoint', help='checkpoint of the supernet')
    add_run_arguments(parser)
    parser.add_argument('--seed', type=int, help='seed of the search')
    parser.add_argument(
        '--amp',
        action='store_true',
        help='score with automatic mixed precision',
    )
    parser.add_argument(
        '--algorithm',
        choices=list(ALGORITHM_NAMES),
        help="'surrogate' ranks children by a model of all scores so far; "
        "'random' is the paper's baseline with the same budget",
    )
    parser.add_argument(
        '--objectives',
        nargs='+',
        metavar='OBJECTIVE',
        help='search for the Pareto front of metrics, the first of which is '
        'the fitness, and of costs (macs, params, latency), such as: '
        '--objectives coco/bbox_mAP macs',
    )
    parser.add_argument(
        '--reuse',
        nargs='+',
        metavar='RECORD',
        help='take over the scores of earlier searches of this supernet: '
        'their work dirs or records',
    )
    parser.add_argument(
        '--paths',
        nargs='+',
        help='score these paths (digits, published names, best.json of '
        'searches) instead of searching',
    )
    parser.add_argument(
        '--force',
        action='store_true',
        help='use a latency table that failed its check',
    )
    add_common_arguments(parser)
    return parser.parse_args()


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of what runs as a search does."""
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument(
        '--resume',
        action='store_true',
        help='resume the search in the work dir',
    )
    existing.add_argument(
        '--overwrite',
        action='store_true',
        help='replace the search in the work dir',
    )
    parser.add_argument(
        '--executor',
        choices=['local', 'ray'],
        help="what evaluates, without a launcher: this process, or 'ray' on "
        'all GPUs of this machine or of a cluster',
    )
    parser.add_argument(
        '--address', help='address of the Ray cluster, for --executor ray'
    )


def apply_arguments(config: Config, args: argparse.Namespace) -> None:
    """Takes the settings of the search from the command line."""
    if not is_search(config.get('val_cfg')):
        raise InputError(
            '`val_cfg` of the config is '
            f'{(config.get("val_cfg") or {}).get("type")!r}, expected '
            "dict(type='detnas_mm.EvolutionSearchLoop', metric=...); inherit "
            'from the config of the supernet as configs/detnas/*-search-*.py '
            'do'
        )
    config.load_from = args.checkpoint
    search = config.val_cfg
    # Refuses settings of an earlier version before they are changed.
    read_settings(config)
    search.launcher = args.launcher
    search.resume = args.resume
    search.overwrite = args.overwrite
    if args.seed is not None:
        search.seed = args.seed
    if args.amp:
        search.fp16 = True
    if args.force:
        constraint = search.setdefault('constraint', {})
        constraint.setdefault('latency', {})['force'] = True
    if args.objectives is not None:
        search.metric, search.objectives = read_objectives(args.objectives)
    if args.reuse is not None:
        search.reuse = args.reuse
    search.algorithm = read_algorithm(search, args)
    search.executor = read_executor(search, args)


def read_settings(config: Config) -> SearchSettings:
    """Returns the settings of the search."""
    settings = {k: v for k, v in config.val_cfg.items() if k != 'type'}
    return SearchSettings.from_config(settings)


def read_objectives(names: Sequence[str]) -> tuple[str, list[str]]:
    """Returns the metric that is the fitness, and the other objectives."""
    metrics = [name for name in names if name not in COSTS]
    if not metrics or len(names) < 2:
        raise InputError(
            '`--objectives` takes a metric and at least one cost '
            f'({", ".join(COSTS)}) or further metric, such as coco/bbox_mAP '
            f'macs, got {" ".join(names)}'
        )
    return metrics[0], [name for name in names if name != metrics[0]]


def read_algorithm(search: Config, args: argparse.Namespace) -> dict:
    """Returns type and settings of the algorithm."""
    algorithm = {'type': 'Evolution', **(search.get('algorithm') or {})}
    if args.paths is not None:
        if args.algorithm is not None:
            raise InputError(
                '`--paths` scores the paths given and takes no '
                f'`--algorithm {args.algorithm}`: give one of the two'
            )
        if args.reuse is not None:
            raise InputError(
                '`--paths` scores the paths given and takes no `--reuse`: '
                'give one of the two'
            )
        return dict(type='FixedPaths', paths=args.paths)
    if args.algorithm is not None:
        algorithm['type'] = ALGORITHM_NAMES[args.algorithm]
    elif args.objectives is not None:
        algorithm['type'] = 'NSGA2'
    # Settings of the config's algorithm that the other one has, too.
    if algorithm['type'] != (search.get('algorithm') or {}).get('type'):
        other = ALGORITHMS.module_dict[algorithm['type']]
        known = ('type', *inspect.signature(other).parameters)
        return {k: v for k, v in algorithm.items() if k in known}
    return algorithm


def read_executor(search: Config, args: argparse.Namespace) -> dict:
    """Returns type and settings of the executor."""
    executor = dict(search.get('executor') or {})
    if args.executor is not None:
        kind = {'local': 'Serial', 'ray': 'Ray'}[args.executor]
        if executor.setdefault('type', kind) != kind:
            executor = {'type': kind}
    if args.address is not None:
        if executor.get('type') != 'Ray':
            raise InputError('`--address` goes with `--executor ray`')
        executor['address'] = args.address
    return executor


def main() -> None:
    """Runs the command."""
    args = parse_args()
    setup_compat()
    config = load_config(args)
    apply_arguments(config, args)
    run_search(config, args.launcher)


def run_search(config: Config, launcher: str) -> int:
    """Checks the data and the work dir, and runs the search of a config.

    Returns:
        The rank of this process. Rank 0 keeps the record.
    """
    require_data(config, ('train', 'val'))
    rank = 0 if launcher == 'none' else read_launch_rank(launcher)
    if rank:
        # Rank 0 keeps the record; the others leave their logs.
        config.work_dir = str(Path(config.work_dir) / f'workers/rank{rank}')
    require_writable(config.work_dir)
    if not rank:
        # The loop looks again, but MMEngine prints the whole config before.
        record = Path(config.work_dir) / RECORD
        require_new_record(record, read_settings(config))
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ['LOCAL_RANK']))
    # To MMEngine each process is alone: none waits for another while it
    # evaluates a candidate.
    config.launcher = 'none'
    try:
        Runner.from_cfg(config).val()
    except KeyboardInterrupt:
        if rank == 0:
            print(
                f'\nStopped. All finished candidates are in {config.work_dir}:'
                ' resume with the same command and --resume',
                file=sys.stderr,
            )
        sys.exit(130)
    return rank


if __name__ == '__main__':
    run_command(main)
