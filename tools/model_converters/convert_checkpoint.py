"""Convert a checkpoint of the DetNAS authors, of MMRazor or of SPOS.

Kind (ImageNet net, detector or supernet), search space and path are detected
from the file.
"""

import argparse
from pathlib import Path

import torch

from detnas_mm.models import (
    build_model,
    convert_checkpoint,
    require_matching_keys,
    save_checkpoint,
)
from detnas_mm.utils.cli import add_common_arguments, load_config, run_command
from detnas_mm.utils.files import require_folder


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='original file, .pth or .pkl')
    parser.add_argument('out', type=Path, help='checkpoint to write')
    parser.add_argument(
        '--shuffle',
        choices=['grouped', 'interleaved'],
        help="channel shuffle of the authors' net; by default as in their "
        'code: grouped for a supernet, interleaved for a final net and SPOS',
    )
    parser.add_argument(
        '--fold-stem-bias',
        action='store_true',
        help='move the bias of the stem into its BN',
    )
    parser.add_argument(
        '--config',
        help='check that the weights fit the model of this config, with the '
        'detected backbone',
    )
    add_common_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    require_folder(args.out.parent)
    config = load_config(args) if args.config else None
    converted = convert_checkpoint(
        args.checkpoint, args.shuffle, args.fold_stem_bias
    )
    if config is not None:
        with torch.device('meta'):
            model = build_model(config, converted.backbone_cfg)
        require_matching_keys(model, converted.state_dict, args.checkpoint)
    save_checkpoint(converted.to_checkpoint(), args.out)
    path = converted.path
    print(
        f'{args.out}: {"supernet" if path is None else f"path {path}"}, '
        f'converted from {converted.layout}; it fits\n'
        f'backbone={converted.backbone_cfg}'
    )


if __name__ == '__main__':
    run_command(main)
