"""Export a trained detector's backbone to torch.export or ONNX."""

import argparse
from pathlib import Path

import torch

from detnas_mm.compat import setup_compat
from detnas_mm.models.export import (
    build_trained_backbone,
    export_backbone,
    largest_difference,
)
from detnas_mm.utils.cli import add_common_arguments, load_config, run_command
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import require_folder


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of the detector')
    parser.add_argument('checkpoint', help='checkpoint of the detector')
    parser.add_argument(
        'out',
        type=Path,
        help='file to write: .pt2 for torch.export, .onnx for ONNX',
    )
    parser.add_argument(
        '--input-size',
        type=int,
        nargs=2,
        default=(800, 1344),
        metavar=('HEIGHT', 'WIDTH'),
        help='size of the images, multiples of 32 (default: 800 1344)',
    )
    add_common_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    setup_compat()
    config = load_config(args)
    require_folder(args.out.parent)
    if min(args.input_size) < 32 or any(x % 32 for x in args.input_size):
        raise InputError(
            '--input-size must be two multiples of 32, such as 800 1344, got '
            f'{" ".join(map(str, args.input_size))}'
        )
    backbone = build_trained_backbone(config, args.checkpoint)
    images = torch.randn(2, 3, *args.input_size)
    export_backbone(backbone, args.out, images)
    difference = largest_difference(backbone, args.out, images)
    print(
        f'{args.out}: images (N, 3, {args.input_size[0]}, '
        f'{args.input_size[1]}) to {len(backbone.out_channels)} feature maps '
        f'of {"/".join(map(str, backbone.out_channels))} channels; '
        f'differs from PyTorch by at most {difference:.1e}'
    )


if __name__ == '__main__':
    run_command(main)
