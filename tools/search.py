"""Searches the paths of a trained supernet (Section 3.4 of the paper)."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from detnas_mm.compat import setup_compat
from detnas_mm.cost import COSTS
from detnas_mm.engine.checks import require_inputs
from detnas_mm.engine.runner.search_loop import require_search_settings
from detnas_mm.engine.search.header import require_same_config
from detnas_mm.engine.search_checks import (
    read_supernet,
    require_coco_metrics,
    require_new_record,
)
from detnas_mm.executors.job import job_rank
from detnas_mm.models import find_supernet
from detnas_mm.structures import RECORD
from detnas_mm.utils.cli import (
    add_common_arguments,
    is_search,
    load_config,
    run_command,
)
from detnas_mm.utils.files import require_writable
from detnas_mm.utils.interrupts import Interrupted, stop_on_signals


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of the search')
    parser.add_argument('checkpoint', help='checkpoint of the supernet')
    there = parser.add_mutually_exclusive_group()
    there.add_argument(
        '--resume',
        action='store_true',
        help='go on with the search in the work dir',
    )
    there.add_argument(
        '--overwrite',
        action='store_true',
        help='drop the search in the work dir',
    )
    parser.add_argument(
        '--executor',
        choices=['local', 'ray'],
        help="who evaluates, without a launcher: this process, or 'ray' on "
        'all GPUs of this machine or of a cluster',
    )
    parser.add_argument(
        '--address', help='address of the Ray cluster, for --executor ray'
    )
    parser.add_argument('--seed', type=int, help='seed of the search')
    parser.add_argument(
        '--amp',
        action='store_true',
        help='score with automatic mixed precision: float16 on a GPU, '
        'bfloat16 on a CPU; --cfg-options val_cfg.fp16=bfloat16 for that on a '
        'GPU',
    )
    parser.add_argument(
        '--algorithm',
        choices=['evolution', 'random'],
        help="'random' is the paper's baseline with the same budget",
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
        '--paths',
        nargs='+',
        help='score these paths (digits, published names, best.json of '
        'searches) instead of searching',
    )
    add_common_arguments(parser)
    return parser.parse_args()


def require_search_loop(config: Config) -> None:
    if not is_search(config.get('val_cfg')):
        loop = (config.get('val_cfg') or {}).get('type')
        raise ValueError(
            f'`val_cfg` of the config is {loop!r}, expected '
            "dict(type='detnas_mm.EvolutionSearchLoop', metric=...); inherit "
            'from the config of the supernet as configs/detnas/*_search_*.py '
            'do'
        )


def read_objectives(names: Sequence[str]) -> dict:
    """Sorts objectives into the fitness, further metrics and costs."""
    costs = [name for name in names if name in COSTS]
    metrics = [name for name in names if name not in COSTS]
    if not metrics or len(set(names)) < max(len(names), 2):
        raise ValueError(
            '`--objectives` takes a metric and at least one cost or further '
            f'metric, such as coco/bbox_mAP macs, got {" ".join(names)}'
        )
    for name in metrics:
        # What papers on networks call FLOPs are MACs.
        meant = name.lower().replace('flops', 'macs')
        close = get_close_matches(meant, COSTS, n=1, cutoff=0.7)
        if close:
            raise ValueError(
                f'`--objectives` has no cost {name!r}, did you mean '
                f'{close[0]}?'
            )
    return dict(metric=metrics[0], maximise=metrics[1:], minimise=costs)


def apply_arguments(config: Config, args: argparse.Namespace) -> None:
    """Takes the settings of the search from the command line."""
    config.load_from = args.checkpoint
    search = config.val_cfg
    search.launcher = args.launcher
    search.resume = args.resume
    search.overwrite = args.overwrite
    for name in ('seed', 'algorithm'):
        if getattr(args, name) is not None:
            search[name] = getattr(args, name)
    if args.objectives is not None:
        search.update(read_objectives(args.objectives))
    if args.amp:
        search.fp16 = True
    if args.paths is not None:
        if args.algorithm is not None:
            raise ValueError(
                '`--paths` scores the paths given, and has no '
                f'`--algorithm {args.algorithm}`: give one of the two'
            )
        search.algorithm = 'given'
        search.paths = args.paths
    executor = dict(search.get('executor') or {})
    if args.executor is not None:
        executor['type'] = args.executor
    if args.address is not None:
        if executor.get('type') != 'ray':
            raise ValueError('`--address` goes with `--executor ray`')
        executor['address'] = args.address
    search.executor = executor or None


def check_inputs(config: Config) -> None:
    """Checks what can be checked before MMEngine prints the whole config."""
    model = require_inputs(config, ('train', 'val'))
    require_coco_metrics(config)
    read_supernet(model, config.load_from)
    require_search_settings(config.val_cfg, find_supernet(model))


def check_record(config: Config) -> None:
    """Checks whether the search may begin, or go on, where it should."""
    record = Path(config.work_dir) / RECORD
    loop = config.val_cfg
    if record.exists():
        logger = logging.getLogger(__name__)
        require_new_record(record, loop.resume, loop.overwrite, logger)


def search(config: Config, rank: int) -> None:
    """Searches until it is done or a signal comes."""
    hint = (
        f'what is evaluated is in {config.work_dir}: go on by the same '
        'command with --resume'
    )
    try:
        with stop_on_signals(hint):
            require_writable(config.work_dir)
            Runner.from_cfg(config).val()
    except Interrupted as interrupted:
        if rank == 0:
            print(f'\n{interrupted}', file=sys.stderr)
        sys.exit(interrupted.exit_code)


def main() -> None:
    args = parse_args()
    setup_compat()
    config = load_config(args)
    require_search_loop(config)
    apply_arguments(config, args)
    alone = args.launcher == 'none'
    if alone:
        # Else rank 0 does it later: it has told the others then, and may
        # have begun the record before they look.
        check_record(config)
    check_inputs(config)
    if alone:
        if args.resume:
            require_same_config(Path(config.work_dir) / RECORD, config)
        require_writable(config.work_dir)
    rank = job_rank(args.launcher)
    if rank:
        # Only rank 0 keeps the record; the others leave their logs.
        config.work_dir = str(Path(config.work_dir) / f'workers/rank{rank}')
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ['LOCAL_RANK']))
    # To MMEngine each process is alone: none waits for another while it
    # evaluates a candidate.
    config.launcher = 'none'
    search(config, rank)


if __name__ == '__main__':
    run_command(main)
