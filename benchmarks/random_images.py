"""Replace the data of a COCO config by images of noise, of any size."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from mmdet.datasets import CocoDataset
from mmengine.config import Config

from detnas_mm.engine.network_arguments import add_shape_option
from detnas_mm.utils.errors import InputError

BOXES = 6
# Pixels per grain of the noise: files are about as large as photographs.
COARSENESS = 4
# The paper uses 500 images for BN statistics and 5,000 for the score.
IMAGES_FOR_BN = 0.1


def add_random_options(
    parser: argparse.ArgumentParser, shape: tuple[int, int]
) -> None:
    """Add ``--random`` and ``--shape``."""
    parser.add_argument(
        '--random',
        type=int,
        metavar='IMAGES',
        help='use images of noise instead of the data of the config',
    )
    add_shape_option(parser, shape)


def recalibration_hook(config: Config) -> dict:
    """Return the settings of the ``BNRecalibrationHook`` of a search.

    Raises:
        InputError: If the config has none.
    """
    for hook in config.custom_hooks:
        if hook['type'].endswith('BNRecalibrationHook'):
            return hook
    raise InputError(
        'the config has no BNRecalibrationHook among its `custom_hooks`'
    )


def use_random_images(
    config: Config, folder: Path, count: int, shape: tuple[int, int]
) -> None:
    """Replace the data of a config by images of noise.

    Args:
        config: A search on a data set of mmdet; it is changed.
        folder: Where the images are written.
        count: Number of images for the score; a tenth of it, as in the
            paper, is used for BN statistics.
        shape: Height and width of the images.
    """
    data = config.val_dataloader.dataset
    names = data.get('metainfo', CocoDataset.METAINFO)['classes']
    _write(folder, count, shape, names)
    for name in ('train_dataloader', 'val_dataloader'):
        config[name].dataset.update(
            data_root=str(folder),
            ann_file='annotations.json',
            data_prefix=dict(img=''),
        )
    config.val_evaluator.ann_file = str(folder / 'annotations.json')
    hook = recalibration_hook(config)
    hook.num_images = max(1, round(count * IMAGES_FOR_BN))


def _write(
    folder: Path, count: int, shape: tuple[int, int], names: Sequence[str]
) -> None:
    rng = np.random.default_rng(0)
    height, width = shape
    images, annotations = [], []
    for image in range(count):
        name = f'{image}.jpg'
        coarse = (height // COARSENESS, width // COARSENESS, 3)
        noise = rng.integers(256, size=coarse, dtype=np.uint8)
        noise = cv2.resize(noise, (width, height))
        cv2.imwrite(str(folder / name), noise)
        images.append(
            dict(id=image, file_name=name, height=height, width=width)
        )
        corners = rng.uniform(0, 0.6, (BOXES, 2)) * (width, height)
        extents = rng.uniform(0.1, 0.4, (BOXES, 2)) * (width, height)
        for (x, y), (w, h) in zip(corners, extents, strict=True):
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image,
                    category_id=1,
                    bbox=[x, y, w, h],
                    area=w * h,
                    iscrowd=0,
                )
            )
    categories = [
        dict(id=index + 1, name=name) for index, name in enumerate(names)
    ]
    content = dict(
        images=images, annotations=annotations, categories=categories
    )
    (folder / 'annotations.json').write_text(json.dumps(content))
