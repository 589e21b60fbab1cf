"""Arguments of the command lines that examine one network at one size."""

import argparse
import math

import torch
from mmengine.config import Config

from detnas_mm.models import resolve_architecture
from detnas_mm.models.latency import usable_device
from detnas_mm.utils.errors import InputError


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument(
        '--device',
        type=_device,
        default='cuda' if torch.cuda.is_available() else 'cpu',
        help='such as cuda:0 or cpu; by default a GPU, if torch finds one',
    )


def add_shape_option(
    parser: argparse.ArgumentParser, default: tuple[int, int] | None = None
) -> None:
    """Add ``--shape``."""
    size = "the size of the config's test images"
    if default is not None:
        size = '{} x {}'.format(*default)
    parser.add_argument(
        '--shape',
        type=int,
        nargs=2,
        default=default,
        metavar=('HEIGHT', 'WIDTH'),
        help=f'size of the image; by default {size}',
    )


def add_path_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--path`` and ``--search-space``."""
    parser.add_argument(
        '--path', help='digits, published name or best.json of the backbone'
    )
    parser.add_argument('--search-space', help='search space of the digits')


def image_size(args: argparse.Namespace, config: Config) -> tuple[int, int]:
    """Return height and width of the image.

    Without ``--shape`` this is the size of the largest test image of the
    config after padding.

    Raises:
        InputError: If neither the arguments nor the config set the size.
    """
    if args.shape:
        return tuple(args.shape)
    loader = config.get('test_dataloader') or {}
    sizes = [
        step.get('scale') or step.get('crop_size')
        for step in loader.get('dataset', {}).get('pipeline', ())
    ]
    sizes = [size for size in sizes if size]
    if not sizes:
        raise InputError(
            'the config does not set the size of its test images; give it '
            'by --shape HEIGHT WIDTH'
        )
    size = sizes[-1]
    width, height = (size, size) if isinstance(size, int) else size
    preprocessor = config.model.get('data_preprocessor') or {}
    divisor = preprocessor.get('pad_size_divisor', 1)
    return tuple(math.ceil(n / divisor) * divisor for n in (height, width))


def chosen_backbone(args: argparse.Namespace, config: Config) -> dict | None:
    """Return the config of the backbone of ``--path``, or None without it.

    Raises:
        InputError: If the config has a supernet and no path is given.
    """
    backbone = config.model.backbone
    if args.path:
        known = resolve_architecture(
            args.path, args.search_space or backbone.get('search_space')
        )
        return dict(
            type='detnas_mm.DetNASNet',
            search_space=known.search_space,
            path=known.path,
            shuffle=known.shuffle,
        )
    if str(backbone.type).endswith('DetNASSupernet'):
        raise InputError(
            'the backbone of the config is a supernet; give one of its '
            'paths by --path'
        )
    return None


def _device(name: str) -> str:
    try:
        return usable_device(name)
    except InputError as error:
        # argparse prints the text of this exception only.
        raise argparse.ArgumentTypeError(str(error)) from None
