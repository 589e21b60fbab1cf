"""Export a trained detector to ONNX: image in, boxes, scores, labels out.

The image has bytes (H, W, 3); channel order and normalization are inside. The
file runs without PyTorch, mmdet and detnas_mm; demo/detect_onnx.py shows how.
"""

import argparse
import itertools
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from torch import nn

import detnas_mm
from detnas_mm.compat import setup_compat
from detnas_mm.engine.network_arguments import add_shape_option, image_size
from detnas_mm.models import (
    DetNASNet,
    build_model,
    exact_cost_table,
    load_state_dict,
    require_detector,
    require_trained_network,
)
from detnas_mm.models.detector_program import DetectorProgram
from detnas_mm.models.export import (
    build_trained_backbone,
    export_backbone,
    largest_difference,
    load_exported,
    quantize_onnx,
    write_onnx,
)
from detnas_mm.structures import space_name
from detnas_mm.utils.cli import add_common_arguments, load_config, run_command
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import require_folder


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of the detector')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument(
        'out', type=Path, help='file to write: .onnx; a backbone also .pt2'
    )
    add_shape_option(parser)
    parser.add_argument(
        '--rgb',
        action='store_true',
        help='the channels of the image are RGB, not BGR as OpenCV reads them',
    )
    parser.add_argument(
        '--int8',
        type=Path,
        metavar='FOLDER',
        help='compute in 8 bits; the ranges of values are measured on the '
        'images of this folder, such as training images',
    )
    parser.add_argument(
        '--calibration-images',
        type=int,
        default=64,
        help='number of images that --int8 reads (default: 64)',
    )
    parser.add_argument(
        '--backbone',
        action='store_true',
        help='export the backbone alone: normalized images (N, 3, H, W) to '
        'feature maps, for any N',
    )
    add_common_arguments(parser)
    return parser.parse_args()


def require_arguments(args: argparse.Namespace, size: tuple[int, int]) -> None:
    """Check the file, the size and the options before the long work."""
    require_folder(args.out.parent)
    if min(size) < 32 or any(side % 32 for side in size):
        raise InputError(
            '--shape must be two multiples of 32, such as 800 1344, got '
            f'{" ".join(map(str, size))}'
        )
    endings = ('.onnx', '.pt2') if args.backbone else ('.onnx',)
    if args.out.suffix not in endings:
        raise InputError(
            f'the file must end in {" or ".join(endings)}, got {args.out}'
        )
    if args.backbone and (args.int8 or args.rgb):
        raise InputError('--backbone excludes --int8 and --rgb')
    if args.calibration_images < 1:
        raise InputError(
            '--calibration-images must be at least 1, got '
            f'{args.calibration_images}'
        )


def save_backbone(
    args: argparse.Namespace, config: Config, size: tuple[int, int]
) -> None:
    backbone = build_trained_backbone(config, args.checkpoint)
    images = torch.randn(2, 3, *size)
    export_backbone(backbone, args.out, images)
    difference = largest_difference(backbone, args.out, images)
    print(
        f'{args.out}: images (N, 3, {size[0]}, {size[1]}) to '
        f'{len(backbone.out_channels)} feature maps of '
        f'{"/".join(map(str, backbone.out_channels))} channels; differs from '
        f'PyTorch by at most {difference:.1e}'
    )


def load_detector(args: argparse.Namespace, config: Config) -> nn.Module:
    """Build the detector with its weights."""
    model = build_model(config)
    require_detector(model)
    weights = load_state_dict(args.checkpoint)
    require_trained_network(model, weights, args.checkpoint)
    model.load_state_dict(weights, strict=False)
    return revert_sync_batchnorm(model).eval()


def class_names(config: Config) -> Sequence[str]:
    """Return the classes of the test split, also those of COCO itself."""
    from mmdet.registry import DATASETS

    dataset = config.test_dataloader.dataset
    kind = DATASETS.get(dataset.type)
    # The names may be in a file, as of any dataset of MMEngine.
    return kind._load_metainfo(dataset.get('metainfo'))['classes']


def detector_metadata(
    model: nn.Module,
    program: DetectorProgram,
    classes: Sequence[str],
    input_size: tuple[int, int],
    channel_order: str,
) -> dict[str, object]:
    """Return what a program that runs the exported detector has to know."""
    # Padding that the normalization maps to 0, as mmdet pads.
    pad = program.mean.flatten().tolist()
    if program.reverses:
        pad = pad[::-1]
    metadata = dict(
        detector=type(model).__name__,
        classes=list(classes),
        input_size=list(input_size),
        channel_order=channel_order,
        pad_value=[round(value) for value in pad],
        detnas_mm=detnas_mm.__version__,
    )
    backbone = model.backbone
    if isinstance(backbone, DetNASNet):
        space = backbone.search_space
        table = exact_cost_table(space, input_size)
        metadata |= dict(
            search_space=space_name(space) or space.to_dict(),
            path=space.format(backbone.path),
            backbone_macs=table.macs(backbone.path),
        )
    return metadata


def search_score(config: Config) -> dict:
    """Return the score of the path, if the config names a best.json."""
    path = config.model.backbone.get('path')
    if not str(path).endswith('.json'):
        return {}
    best = json.loads(Path(path).read_text())
    return dict(score=best['fitness'], metric=best['metric'])


def calibration_feeds(
    args: argparse.Namespace, size: tuple[int, int], pad: list[int]
) -> Iterator[dict]:
    """Yield images that fit the input.

    Raises:
        InputError: If the folder has no image.
    """
    files = sorted(args.int8.iterdir()) if args.int8.is_dir() else []
    images = (cv2.imread(str(file)) for file in files if file.is_file())
    found = (image for image in images if image is not None)
    number = 0
    for image in itertools.islice(found, args.calibration_images):
        number += 1
        scale = min(size[0] / image.shape[0], size[1] / image.shape[1])
        fitted = cv2.resize(image, None, fx=scale, fy=scale)
        fitted = fitted[: size[0], : size[1], :: -1 if args.rgb else 1]
        whole = np.full((*size, 3), pad, np.uint8)
        whole[: fitted.shape[0], : fitted.shape[1]] = fitted
        yield dict(image=whole)
    if not number:
        raise InputError(f'--int8 {args.int8} must be a folder with images')


def save_detector(
    args: argparse.Namespace, config: Config, size: tuple[int, int]
) -> None:
    model = load_detector(args, config)
    order = 'RGB' if args.rgb else 'BGR'
    program = DetectorProgram(model, size, order)
    classes = class_names(config)
    metadata = detector_metadata(model, program, classes, size, order)
    metadata |= search_score(config)
    feeds = []
    if args.int8:
        feeds = list(calibration_feeds(args, size, metadata['pad_value']))
    with tempfile.TemporaryDirectory(dir=args.out.parent) as folder:
        # With --int8 the first file is not the result.
        file = Path(folder, args.out.name) if feeds else args.out
        write_onnx(
            program,
            (torch.zeros(*size, 3, dtype=torch.uint8),),
            file,
            inputs=['image'],
            outputs=['boxes', 'scores', 'labels'],
            metadata=metadata | dict(precision='int8' if feeds else 'fp32'),
        )
        if feeds:
            quantize_onnx(file, args.out, feeds)
    print(
        f'{args.out}: image ({size[0]}, {size[1]}, 3), bytes in {order}, to '
        f'boxes, scores and labels of {len(classes)} classes'
    )
    print_comparison(program, args.out, size)
    for key in ('path', 'backbone_macs', 'score'):
        if key in metadata:
            print(f'{key}: {metadata[key]}')


def print_comparison(
    program: nn.Module, file: Path, size: tuple[int, int]
) -> None:
    """Run PyTorch and ONNX Runtime on an image of noise."""
    rng = torch.Generator().manual_seed(0)
    image = torch.randint(256, (*size, 3), generator=rng, dtype=torch.uint8)
    with torch.no_grad():
        expected = program(image)[1]
    scores = load_exported(file)(image)[1]
    print(
        f'on noise: {len(scores)} boxes in ONNX Runtime, {len(expected)} in '
        'PyTorch'
    )
    number = min(len(scores), len(expected))
    if number:
        difference = (scores[:number] - expected[:number]).abs().max()
        print(f'their scores differ by at most {difference:.1e}')


def main() -> None:
    args = parse_args()
    setup_compat()
    config = load_config(args)
    size = image_size(args, config)
    require_arguments(args, size)
    save = save_backbone if args.backbone else save_detector
    save(args, config, size)


if __name__ == '__main__':
    run_command(main)
