"""The same images and boxes as folders of VOC, YOLO and Roboflow.

hotcoco writes the annotations of VOC and the labels of YOLO.
"""

import json
from pathlib import Path

import hotcoco
import numpy as np
from PIL import Image

CLASSES = ('cat', 'ant')
SPLITS = {'train': 10, 'valid': 4, 'test': 4}


def make_images(count, seed=0, size=(64, 48)):
    """Draws images with boxes of whole pixels; every fifth has none.

    Returns:
        A list of (pixels, boxes), each box as class, x, y, width, height.
    """
    rng = np.random.default_rng(seed)
    images = []
    for number in range(count):
        pixels = rng.integers(0, 80, (size[1], size[0], 3), dtype=np.uint8)
        boxes = []
        for _ in range(0 if number % 5 == 4 else rng.integers(1, 4)):
            label = int(rng.integers(2))
            width, height = (int(side) for side in rng.integers(8, 24, 2))
            x = int(rng.integers(0, size[0] - width + 1))
            y = int(rng.integers(0, size[1] - height + 1))
            pixels[y : y + height, x : x + width, label] = 250
            boxes.append((label, x, y, width, height))
        images.append((pixels, boxes))
    return images


def as_coco(images, names, first_id=1):
    """Returns annotations in COCO's format, without fields of hotcoco."""
    annotations = [
        dict(
            image_id=number,
            category_id=first_id + label,
            bbox=list(box),
            area=box[2] * box[3],
            iscrowd=0,
        )
        for number, (_, boxes) in enumerate(images)
        for label, *box in boxes
    ]
    for number, annotation in enumerate(annotations):
        annotation['id'] = number
    return dict(
        images=[
            dict(id=i, file_name=name, width=p.shape[1], height=p.shape[0])
            for i, (name, (p, _)) in enumerate(zip(names, images, strict=True))
        ],
        annotations=annotations,
        categories=[
            dict(id=first_id + i, name=name) for i, name in enumerate(CLASSES)
        ],
    )


def save_images(images, names, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, (pixels, _) in zip(names, images, strict=True):
        Image.fromarray(pixels).save(folder / name)


def splits_of(images):
    """Divides images into the splits of the folders."""
    ends = np.cumsum(list(SPLITS.values()))[:-1]
    parts = [
        images[a:b] for a, b in zip([0, *ends], [*ends, None], strict=True)
    ]
    return dict(zip(SPLITS, parts, strict=True))


def write_voc(root, images):
    """Writes Annotations, JPEGImages and ImageSets/Main."""
    lists = root / 'ImageSets/Main'
    lists.mkdir(parents=True)
    for split, part in splits_of(images).items():
        stems = [f'v{split}{i}' for i in range(len(part))]
        names = [f'{stem}.png' for stem in stems]
        save_images(part, names, root / 'JPEGImages')
        name = {'valid': 'val'}.get(split, split)
        (lists / f'{name}.txt').write_text('\n'.join(stems) + '\n')
        file = root / 'coco.tmp'
        file.write_text(json.dumps(as_coco(part, names)))
        hotcoco.COCO(str(file)).to_voc(str(root))
        file.unlink()
    for file in root.glob('*.txt'):
        file.unlink()


def write_yolo(root, images, splits=None):
    """Writes images, labels and data.yaml as Ultralytics documents them."""
    splits = splits or splits_of(images)
    for split, part in splits.items():
        names = [f'{i:03}.png' for i in range(len(part))]
        save_images(part, names, root / 'images' / split)
        file = root / 'coco.tmp'
        file.write_text(json.dumps(as_coco(part, names)))
        labels = root / 'labels' / split
        hotcoco.COCO(str(file)).to_yolo(str(labels))
        file.unlink()
        for label in labels.glob('*.txt'):
            if not label.read_text():
                label.unlink()
        (labels / 'data.yaml').unlink()
    keys = {s: {'valid': 'val'}.get(s, s) for s in splits}
    (root / 'data.yaml').write_text(
        f'path: {root}\n'
        + ''.join(f'{key}: images/{s}\n' for s, key in keys.items())
        + 'names:\n'
        + ''.join(f'  {i}: {name}\n' for i, name in enumerate(CLASSES))
    )


def write_roboflow(root, images):
    """Writes train, valid and test with an annotation file in each."""
    for split, part in splits_of(images).items():
        names = [f'{i}_png.rf.{i:x}0.png' for i in range(len(part))]
        save_images(part, names, root / split)
        content = as_coco(part, names)
        placeholder = dict(id=0, name='animals', supercategory='none')
        content['categories'].insert(0, placeholder)
        file = root / split / '_annotations.coco.json'
        file.write_text(json.dumps(content))


def without_names(file):
    """Returns the text of an annotation file without names of images."""
    content = json.loads(Path(file).read_text())
    for image in content['images']:
        image['file_name'] = ''
    return json.dumps(content)
