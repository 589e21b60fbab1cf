"""Small stand-ins for COCO, VOC and ImageNet, in the layout of the real ones.

The images are noise with boxes. Folders and files have the names that the
configs expect, so that configs run unchanged.
"""

import json
from pathlib import Path

import cv2
import numpy as np

SIZE = 64
BOXES = ((2, 4, 40, 36), (20, 10, 38, 50))
VOC_XML = """\
<annotation>
<size><width>{size}</width><height>{size}</height><depth>3</depth></size>
{objects}
</annotation>
"""
VOC_OBJECT = """\
<object><name>{name}</name><difficult>{difficult}</difficult>
<bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax>
</bndbox></object>"""


def write_image(file: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = rng.integers(256, size=(SIZE, SIZE, 3), dtype=np.uint8)
    cv2.imwrite(str(file), noise)


def coco_annotations(names, ids, classes) -> dict:
    """Annotations of images in COCO's format, two boxes for each."""
    categories = [
        dict(id=number, name=name) for number, name in enumerate(classes, 1)
    ]
    images = [
        dict(id=number, file_name=name, width=SIZE, height=SIZE)
        for name, number in zip(names, ids, strict=True)
    ]
    boxes = [
        dict(
            id=10 * number + index,
            image_id=number,
            category_id=1 + (number + index) % len(classes),
            bbox=list(box),
            area=box[2] * box[3],
            iscrowd=0,
        )
        for number in ids
        for index, box in enumerate(BOXES)
    ]
    return dict(images=images, annotations=boxes, categories=categories)


def write_coco(root: Path, classes, counts: dict[str, int], images=True):
    """Writes annotations, and perhaps images, of COCO's splits.

    Ids continue from split to split.
    """
    (root / 'annotations').mkdir(parents=True)
    first = 1
    for split, count in counts.items():
        ids = range(first, first + count)
        first += count
        year = split[-4:]
        prefix = f'COCO_{split}_' if year == '2014' else ''
        names = [f'{prefix}{number:012d}.jpg' for number in ids]
        file = root / 'annotations' / f'instances_{split}.json'
        file.write_text(json.dumps(coco_annotations(names, ids, classes)))
        if images:
            for name, number in zip(names, ids, strict=True):
                write_image(root / split / name, number)


def write_voc(root: Path, classes, counts: dict[tuple[str, str], int]):
    """Writes VOC's years, with so many images by year and split."""
    number = 0
    for (year, split), count in counts.items():
        folder = root / f'VOC{year}'
        names = []
        for _ in range(count):
            number += 1
            name = f'{number:06d}' if year == '2007' else f'2008_{number:06d}'
            names.append(name)
            write_image(folder / 'JPEGImages' / f'{name}.jpg', number)
            objects = [
                VOC_OBJECT.format(
                    x + 1,
                    y + 1,
                    x + width,
                    y + height,
                    name=classes[(number + index) % len(classes)],
                    difficult=0,
                )
                for index, (x, y, width, height) in enumerate(BOXES)
            ]
            file = folder / 'Annotations' / f'{name}.xml'
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(
                VOC_XML.format(size=SIZE, objects='\n'.join(objects))
            )
        file = folder / 'ImageSets' / 'Main' / f'{split}.txt'
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(''.join(f'{name}\n' for name in names))


def write_imagenet(root: Path, classes: int, train: int, val: int):
    """Writes one folder for each class, with equal images."""
    write_image(root / 'image.png', 0)
    content = (root / 'image.png').read_bytes()
    (root / 'image.png').unlink()
    for label in range(classes):
        for split, count in (('train', train), ('val', val)):
            folder = root / split / f'n{label:08d}'
            folder.mkdir(parents=True)
            for index in range(count):
                name = f'{folder.name}_{split}_{index}.JPEG'
                (folder / name).write_bytes(content)
