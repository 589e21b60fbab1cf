"""Holds a search split out of COCO's training annotations (Section 4)."""

import argparse
import json
from pathlib import Path

import numpy as np

from detnas_mm.command_line import run_command
from detnas_mm.structures.files import write_atomically


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('data_root', type=Path, help='such as data/coco')
    parser.add_argument(
        '--ann-file',
        default='annotations/instances_train2017.json',
        help='training annotations, relative to the data root',
    )
    parser.add_argument(
        '--name', default='2017', help='ending of the files that are written'
    )
    parser.add_argument(
        '--search-images', type=int, default=5000, help='images held out'
    )
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


def split_images(
    annotations: dict, search_images: int, seed: int
) -> dict[str, dict]:
    """Splits COCO annotations into ``train`` and ``search``.

    Raises:
        ValueError: If there are not enough images.
    """
    ids = sorted(image['id'] for image in annotations['images'])
    if not 0 < search_images < len(ids):
        raise ValueError(
            f'--search-images must be 1 to {len(ids) - 1}, fewer than the '
            f'images of the file, got {search_images}'
        )
    rng = np.random.default_rng(seed)
    held_out = set(rng.choice(ids, size=search_images, replace=False).tolist())
    return {
        'train': _select(annotations, set(ids) - held_out),
        'search': _select(annotations, held_out),
    }


def _select(annotations: dict, ids: set[int]) -> dict:
    return annotations | {
        'images': [i for i in annotations['images'] if i['id'] in ids],
        'annotations': [
            a for a in annotations['annotations'] if a['image_id'] in ids
        ],
    }


def main() -> None:
    args = parse_args()
    source = args.data_root / args.ann_file
    if not source.is_file():
        raise FileNotFoundError(
            f'no annotations at {source}; give the folder of COCO, which has '
            'annotations/ and train2017/, as data_root'
        )
    annotations = json.loads(source.read_text())
    splits = split_images(annotations, args.search_images, args.seed)
    for split, content in splits.items():
        file = source.parent / f'detnas_{split}{args.name}.json'
        write_atomically(file, json.dumps(content))
        print(
            f'{file}: {len(content["images"]):,} images, '
            f'{len(content["annotations"]):,} boxes'
        )


if __name__ == '__main__':
    run_command(main)
