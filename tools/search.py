"""Searches the paths of a trained supernet (Section 3.4 of the paper)."""

import argparse

from mmengine.config import Config
from mmengine.runner import Runner

from detnas_mm.command_line import (
    add_common_arguments,
    load_config,
    run_command,
)
from detnas_mm.compat import setup_compat


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
    config.load_from = args.checkpoint
    config.val_cfg.resume = args.resume
    for name in ('seed', 'algorithm'):
        if getattr(args, name) is not None:
            config.val_cfg[name] = getattr(args, name)
    Runner.from_cfg(config).val()


if __name__ == '__main__':
    run_command(main)
