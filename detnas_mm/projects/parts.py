"""The three parts of a data set: training, search and test images."""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from detnas_mm.projects.formats import ALL, LabeledImage
from detnas_mm.utils.errors import InputError

PARTS = ('train', 'search', 'test')
# An image that is in several splits stays in the first of these.
_KEPT = ('test', 'search', 'train')
# A part that is held out has a fifth of the images, as in the paper at most
# 5,000.
_SHARE, _MAXIMUM = 0.2, 5000

Parts = Mapping[str, Sequence[LabeledImage]]


def make_parts(
    splits: Parts, *, valid_is: str, seed: int
) -> tuple[dict[str, list[LabeledImage]], list[str]]:
    """Divide images into training, search and test images.

    Splits are kept; ``valid`` becomes the part ``valid_is``. A missing part
    is held out of the training images, with the same share of each class.
    Images of the same content come into the same part.

    Returns:
        The images of each part, by their contents, and what was done.

    Raises:
        InputError: If a part would have no boxes.
    """
    names = {ALL: 'train', 'valid': valid_is}
    if valid_is in splits and 'valid' in splits:
        raise InputError(
            f'the data have a split {valid_is} beside valid, so that valid '
            f'cannot become it; leave --valid {valid_is} out'
        )
    parts = {names.get(s, s): list(images) for s, images in splits.items()}
    digests = {i.digest for images in parts.values() for i in images}
    if len(digests) < len(PARTS):
        raise InputError(
            f'{len(digests)} different images are too few for the parts '
            f'{", ".join(PARTS)}; add images'
        )
    notes = _drop_copies(parts)
    train = parts.get('train', [])
    count = len(train)
    for name in ('test', 'search'):
        if name not in parts:
            wanted = min(max(round(_SHARE * count), 1), _MAXIMUM)
            train, parts[name] = _hold_out(train, wanted, seed)
            notes.append(f'{name}: held out of the training images')
    parts['train'] = train
    for name in PARTS:
        if not any(image.boxes for image in parts[name]):
            counts = ', '.join(f'{len(i)} {s}' for s, i in splits.items())
            raise InputError(
                f'{len(parts[name])} images with no box are for {name}, of '
                f'{counts} that were read; every part needs images with '
                'boxes, so correct the annotations or leave the split out'
            )
        parts[name].sort(key=lambda image: (image.digest, str(image.file)))
    return {name: parts[name] for name in PARTS}, notes


def _drop_copies(parts: dict[str, list[LabeledImage]]) -> list[str]:
    """Leave each image in one part only."""
    known: dict[str, str] = {}
    notes = []
    for name in (part for part in _KEPT if part in parts):
        kept = [i for i in parts[name] if i.digest not in known]
        dropped = len(parts[name]) - len(kept)
        if dropped:
            notes.append(
                f'{name}: {dropped} images left out that are in another part'
            )
        known.update({image.digest: name for image in kept})
        parts[name] = kept
    return notes


def _hold_out(
    images: Sequence[LabeledImage], count: int, seed: int
) -> tuple[list[LabeledImage], list[LabeledImage]]:
    """Divide images into those that stay and about ``count`` others."""
    copies: dict[str, list[LabeledImage]] = defaultdict(list)
    for image in images:
        copies[image.digest].append(image)
    digests = sorted(copies)
    np.random.default_rng(seed).shuffle(digests)
    numbers = Counter(box.name for image in images for box in image.boxes)

    def rarest(digest: str) -> tuple[int, str]:
        names = {box.name for image in copies[digest] for box in image.boxes}
        return min(((numbers[name], name) for name in names), default=(0, ''))

    # At even distances in the order of classes, each class has its share.
    digests.sort(key=rarest)
    step = len(images) / count
    places = {int((k + 0.5) * step) for k in range(count)}
    chosen = {d for place, d in enumerate(digests) if place in places}
    return (
        [image for image in images if image.digest not in chosen],
        [image for image in images if image.digest in chosen],
    )


def class_names(parts: Parts) -> list[str]:
    """Return the classes that have boxes, in alphabetical order."""
    boxes = (b for images in parts.values() for i in images for b in i.boxes)
    return sorted({box.name for box in boxes})


def is_turned(parts: Parts) -> bool:
    """Return whether boxes refer to images as their EXIF data turn them.

    Raises:
        InputError: If some do and some do not.
    """
    found = {i.is_turned: i for images in parts.values() for i in images}
    if True in found and False in found:
        raise InputError(
            f'{found[True].file} is annotated as its EXIF data turn it, but '
            f'{found[False].file} as it is stored; store them upright'
        )
    return True in found


def annotation_text(
    images: Sequence[LabeledImage], classes: Sequence[str], root: Path
) -> str:
    """Return the annotation file of a part, in COCO's format.

    It does not depend on how boxes were stored: they are rounded to
    hundredths of a pixel, which is below the precision of YOLO's files.
    """
    ids = {name: number for number, name in enumerate(classes, 1)}
    content = {'images': [], 'annotations': [], 'categories': []}
    for name, number in ids.items():
        content['categories'].append({'id': number, 'name': name})
    for image_id, image in enumerate(images, 1):
        content['images'].append(
            {
                'id': image_id,
                'file_name': os.path.relpath(image.file, root),
                'width': image.size[0],
                'height': image.size[1],
            }
        )
        # Without negative zeros.
        rounded = [
            (
                ids[box.name],
                *(round(v, 2) + 0.0 for v in box[1:5]),
                box.is_crowd,
            )
            for box in image.boxes
        ]
        for category, *box, is_crowd in sorted(rounded):
            content['annotations'].append(
                {
                    'id': len(content['annotations']) + 1,
                    'image_id': image_id,
                    'category_id': category,
                    'bbox': box,
                    'area': round(box[2] * box[3], 4),
                    'iscrowd': int(is_crowd),
                }
            )
    return json.dumps(content) + '\n'
