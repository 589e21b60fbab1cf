"""Train a supernet or a searched backbone, under mmpretrain or mmdet."""

import argparse
import traceback
import zipfile
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch.utils import data as torch_data

from detnas_mm.compat import init_distributed, setup_compat
from detnas_mm.datasets.checks import require_readable
from detnas_mm.engine.checks import (
    require_batches,
    require_inputs,
    require_pretrained,
)
from detnas_mm.models import last_checkpoint
from detnas_mm.utils.cli import (
    add_common_arguments,
    load_config,
    refuse_search_config,
    run_command,
)
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import require_writable


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of the training')
    parser.add_argument(
        '--amp',
        action='store_true',
        help='train with automatic mixed precision',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the actual batch size',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='checkpoint to resume from; without a value, the latest one in '
        'the work dir',
    )
    add_common_arguments(parser)
    return parser.parse_args()


def enable_auto_scale_lr(config: Config) -> None:
    if 'base_batch_size' not in config.get('auto_scale_lr', {}):
        raise InputError(
            '--auto-scale-lr needs `auto_scale_lr.base_batch_size` in the '
            'config'
        )
    config.auto_scale_lr.enable = True


def is_of_loader(error: Exception) -> bool:
    """Return True if a data loader raised an error, or one of its workers."""
    loader = Path(torch_data.__file__).parent
    frames = traceback.extract_tb(error.__traceback__)
    return any(loader in Path(frame.filename).parents for frame in frames)


def main() -> None:
    args = parse_args()
    setup_compat()
    config = load_config(args)
    refuse_search_config(config)
    if args.resume not in (None, 'auto') and not zipfile.is_zipfile(
        args.resume
    ):
        raise InputError(f'no checkpoint at {args.resume}, or a torn one')
    if args.amp:
        config.optim_wrapper.type = 'AmpOptimWrapper'
        config.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.auto_scale_lr:
        enable_auto_scale_lr(config)
    if args.resume is not None:
        config.resume = True
        is_auto = args.resume == 'auto'
        config.load_from = (
            last_checkpoint(config.work_dir) if is_auto else args.resume
        )
    init_distributed(args.launcher, config)
    # Checked before MMEngine prints the whole config.
    model = require_inputs(config, ('train', 'val'))
    require_pretrained(model, config)
    require_writable(config.work_dir)
    if 'runner_type' in config:
        runner = RUNNERS.build(config)
    else:
        runner = Runner.from_cfg(config)
    # Built here, or later by `train` in the same way.
    loader = runner.train_loop.dataloader
    require_batches(loader, 'train_dataloader')
    try:
        runner.train()
    except Exception as error:
        if is_of_loader(error):
            # Other loops have no data loader, or are not built yet.
            loops = (runner._train_loop, runner._val_loop)
            loaders = [getattr(loop, 'dataloader', None) for loop in loops]
            datasets = [loader.dataset for loader in loaders if loader]
            require_readable(datasets, error)
        raise


if __name__ == '__main__':
    run_command(main)
