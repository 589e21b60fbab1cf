"""Extract a path from a supernet, with recomputed BN statistics."""

import argparse
import tempfile
from pathlib import Path

from detnas_mm.compat import setup_compat
from detnas_mm.engine.subnet import extract_subnet
from detnas_mm.models import save_checkpoint
from detnas_mm.utils.cli import add_common_arguments, load_config, run_command
from detnas_mm.utils.files import require_folder


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config', help="config of the supernet's training or search"
    )
    parser.add_argument('checkpoint', help='checkpoint of the supernet')
    parser.add_argument(
        'path', help='digits of the path, or the best.json of a search'
    )
    parser.add_argument('out', type=Path, help='checkpoint to write')
    add_common_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    setup_compat()
    config = load_config(args)
    require_folder(args.out.parent)
    with tempfile.TemporaryDirectory() as work_dir:
        config.work_dir = args.work_dir or work_dir
        # Extracting weights needs no validation.
        config.val_cfg = config.val_dataloader = config.val_evaluator = None
        checkpoint = extract_subnet(config, args.checkpoint, args.path)
    save_checkpoint(checkpoint, args.out)
    meta = checkpoint['meta']
    print(
        f'{args.out}: path {meta["path"]}, BN statistics '
        + ('recomputed' if meta['bn_recalibrated'] else 'as in the supernet')
    )


if __name__ == '__main__':
    run_command(main)
