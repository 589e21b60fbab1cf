"""Digit images in the layouts of COCO and of ImageNet.

Image ``i`` of a folder depends on the seed, the folder and ``i`` alone, not
on the number of images.
"""

import json
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from detnas_mm.datasets.digits.scenes import draw_scene
from detnas_mm.datasets.digits.settings import DigitsSettings
from detnas_mm.datasets.digits.sources import CLASSES, SplitSources

# Side of the square crops and range of digit heights, in pixels.
CROP_SIZE = 48
CROP_HEIGHTS = (32, 42)
CROP_SHIFT = 3
# Strokes look as in a lossless file, at a third of its size and decoding time.
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 95)
# One number per folder: part of the seed of each of its images.
_STREAMS = {
    'detection/train': 2,
    'detection/search': 3,
    'detection/test': 4,
    'classification/train': 5,
    'classification/val': 6,
}


def write_detection(
    root: Path,
    split: str,
    sources: SplitSources,
    images: int,
    settings: DigitsSettings,
) -> None:
    """Write images of some digits and their annotations.

    Args:
        root: Folder of the data set; receives
            ``annotations/instances_<split>.json`` and ``<split>/``.
        split: ``train``, ``search`` or ``test``.
        sources: Digits and photographs of the split.
        images: Number of images.
        settings: Seed, and what an image looks like.
    """
    size = settings.image_size
    heights = settings.min_height, settings.max_height
    folder = root / split
    folder.mkdir()
    stream = _STREAMS[f'detection/{split}']
    by_class = _rows_by_class(sources)
    records: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for image_id in range(1, images + 1):
        key = (settings.seed, stream, image_id)
        rng = np.random.default_rng(key)
        count = rng.integers(settings.max_digits) + 1
        labels = rng.integers(len(CLASSES), size=count)
        rows = np.array([rng.choice(by_class[label]) for label in labels])
        image, digits = draw_scene(sources, rows, size, heights, rng)
        name = f'{image_id:06d}.jpg'
        _write_image(folder / name, image)
        records.append(
            {'id': image_id, 'file_name': name, 'width': size, 'height': size}
        )
        annotations += [
            {
                'id': number,
                'image_id': image_id,
                'category_id': digit.label + 1,
                'bbox': list(digit.box),
                'area': digit.box[2] * digit.box[3],
                'iscrowd': 0,
                'digit_id': digit.digit_id,
            }
            for number, digit in enumerate(digits, len(annotations) + 1)
        ]
    _write_coco(root, split, records, annotations)


def write_classification(
    root: Path, name: str, sources: SplitSources, crops: int, seed: int
) -> None:
    """Write images of one digit for each class.

    Args:
        root: Folder of the data set; receives
            ``classification/<name>/<class>/<crop>_digit<digit id>.jpg``.
        name: ``train`` or ``val``.
        sources: Digits and photographs to use. The digits of a class are used
            equally often, up to a difference of one.
        crops: Number of images of each class.
        seed: Seed of the data set.
    """
    folder = root / 'classification' / name
    stream = _STREAMS[f'classification/{name}']
    for label, rows in enumerate(_rows_by_class(sources)):
        (folder / CLASSES[label]).mkdir(parents=True)
        for crop in range(crops):
            rng = np.random.default_rng((seed, stream, label, crop))
            row = rows[crop % len(rows) : crop % len(rows) + 1]
            image, (digit,) = draw_scene(
                sources, row, CROP_SIZE, CROP_HEIGHTS, rng, CROP_SHIFT
            )
            file = f'{crop:05d}_digit{digit.digit_id:04d}.jpg'
            _write_image(folder / CLASSES[label] / file, image)


def _rows_by_class(sources: SplitSources) -> list[npt.NDArray[np.int64]]:
    return [
        np.flatnonzero(sources.labels == label)
        for label in range(len(CLASSES))
    ]


def _write_coco(
    root: Path,
    split: str,
    records: list[dict[str, object]],
    annotations: list[dict[str, object]],
) -> None:
    content = {
        'info': {
            'description': f'Handwritten digits on photographs, {split} '
            'split. `digit_id` is the position in '
            'sklearn.datasets.load_digits.'
        },
        'images': records,
        'annotations': annotations,
        'categories': [
            {'id': label + 1, 'name': name}
            for label, name in enumerate(CLASSES)
        ],
    }
    file = root / 'annotations' / f'instances_{split}.json'
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content) + '\n')


def _write_image(file: Path, image: npt.NDArray[np.uint8]) -> None:
    """Write an (S, S, 3) RGB image."""
    bgr = np.ascontiguousarray(image[..., ::-1])
    if not cv2.imwrite(str(file), bgr, _JPEG):
        raise OSError(f'{file} could not be written; check the disk')
