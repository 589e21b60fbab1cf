"""Searches the paths of a trained supernet (Section 3.4 of the paper)."""

import argparse
import os
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from detnas_mm.command_line import (
    add_common_arguments,
    load_config,
    run_command,
)
from detnas_mm.compat import setup_compat
from detnas_mm.evaluation import job_rank


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of the search')
    parser.add_argument('checkpoint', help='checkpoint of the supernet')
    parser.add_argument(
        '--resume',
        action='store_true',
        help='go on with the search in the work dir',
    )
    parser.add_argument('--seed', type=int, help='seed of the search')
    parser.add_argument(
        '--algorithm',
        choices=['evolution', 'random'],
        help="'random' is the paper's baseline with the same budget",
    )
    parser.add_argument(
        '--paths',
        nargs='+',
        help='score these paths (digits) instead of searching',
    )
    add_common_arguments(parser)
    return parser.parse_args()


def require_search_loop(config: Config) -> None:
    loop = (config.get('val_cfg') or {}).get('type', '')
    if str(loop).rpartition('.')[2] != 'EvolutionSearchLoop':
        raise ValueError(
            f'`val_cfg` of the config is {loop or None!r}, expected '
            "dict(type='detnas_mm.EvolutionSearchLoop', metric=...); inherit "
            'from the config of the supernet as configs/detnas/*_search_*.py '
            'do'
        )


def main() -> None:
    args = parse_args()
    setup_compat()
    config = load_config(args)
    require_search_loop(config)
    rank = job_rank(args.launcher)
    if rank:
        # Only rank 0 keeps the record; the others leave their logs.
        config.work_dir = str(Path(config.work_dir) / f'workers/rank{rank}')
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ['LOCAL_RANK']))
    # To MMEngine each process is alone: none waits for another while it
    # evaluates a candidate.
    config.launcher = 'none'
    config.load_from = args.checkpoint
    config.val_cfg.launcher = args.launcher
    config.val_cfg.resume = args.resume
    for name in ('seed', 'algorithm'):
        if getattr(args, name) is not None:
            config.val_cfg[name] = getattr(args, name)
    if args.paths is not None:
        config.val_cfg.algorithm = 'given'
        config.val_cfg.paths = args.paths
    Runner.from_cfg(config).val()


if __name__ == '__main__':
    run_command(main)
