"""Time one pass over the search split, from files and from memory."""

import argparse
import tempfile
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import torch
from measuring import (
    Spread,
    add_measuring_options,
    conditions,
    measure_in_turns,
    report,
)
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from random_images import add_random_options, use_random_images

from detnas_mm.compat import setup_compat
from detnas_mm.datasets.batch_cache import CachedLoader, MemoryBudget
from detnas_mm.utils.cli import add_common_arguments, load_config, run_command
from detnas_mm.utils.errors import InputError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a search')
    parser.add_argument(
        '--workers', type=int, nargs='+', default=[0, 1, 2],
        help='processes that read files',
    )  # fmt: skip
    parser.add_argument(
        '--gb', type=float, default=8.0, help='memory for the images'
    )
    add_random_options(parser, shape=(480, 640))
    add_measuring_options(parser, rounds=5)
    add_common_arguments(parser)
    return parser.parse_args()


def build_loader(config: Config, workers: int) -> torch.utils.data.DataLoader:
    settings = dict(config.val_dataloader)
    settings.update(num_workers=workers, persistent_workers=workers > 0)
    return Runner.build_dataloader(settings, seed=0)


def exhaust(batches: Iterable) -> None:
    deque(batches, maxlen=0)


def build_loaders(
    config: Config, args: argparse.Namespace
) -> dict[str, Iterable]:
    """Return loaders that read files, and a last one that reads memory."""
    loaders: dict[str, Iterable] = {
        f'files, {count} workers': build_loader(config, count)
        for count in args.workers
    }
    kept = CachedLoader(
        build_loader(config, 0), MemoryBudget(int(args.gb * 1e9))
    )
    exhaust(kept)
    if not kept.is_cached:
        raise InputError(f'the images need more than {args.gb} GB: raise --gb')
    return loaders | {'memory': kept}


def main() -> None:
    args = parse_args()
    setup_compat()
    torch.set_num_threads(args.threads)
    config = load_config(args)
    init_default_scope(config.get('default_scope') or 'mmdet')
    with tempfile.TemporaryDirectory() as folder:
        if args.random:
            use_random_images(config, Path(folder), args.random, args.shape)
        loaders = build_loaders(config, args)
        cases = {
            name: lambda loader=loader: exhaust(loader)
            for name, loader in loaders.items()
        }
        times = measure_in_turns(cases, args)
    kept = loaders['memory']
    images = len(kept.dataset)
    rows = [
        {
            'from': name,
            'pass, ms': Spread.of(milliseconds),
            'image, ms': Spread.of([ms / images for ms in milliseconds]),
        }
        for name, milliseconds in times.items()
    ]
    report(
        f'Reading {images} images',
        rows,
        args,
        config=args.config,
        kept_gb=kept.num_bytes / 1e9,
        **conditions(args),
    )


if __name__ == '__main__':
    run_command(main)
