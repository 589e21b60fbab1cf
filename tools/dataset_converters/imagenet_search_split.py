"""Split off a search split from ImageNet's training images (ClsNASNet)."""

import argparse
from collections import defaultdict
from pathlib import Path

from detnas_mm.datasets.search_split import (
    hold_out,
    require_disjoint,
    write_split,
)
from detnas_mm.utils.cli import run_command
from detnas_mm.utils.errors import InputError

# The same as in mmpretrain's ImageNet data set.
EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('data_root', type=Path, help='such as data/imagenet')
    parser.add_argument(
        '--images-per-class',
        type=int,
        default=50,
        help='images of each class in the search split',
    )
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


def read_labels(data_root: Path, split: str) -> dict[str, int]:
    """Return the label of each image, by its path in the folder of a split.

    Labels are read from ``meta/<split>.txt`` if the file exists, else from
    the folders of the classes in alphabetical order, as in mmpretrain.

    Raises:
        InputError: If no images are found.
        InputError: If a line of the list is invalid.
    """
    meta = data_root / 'meta' / f'{split}.txt'
    if meta.is_file():
        labels = read_list(meta)
        if not labels:
            raise InputError(f'{meta} lists no images')
        return labels
    folder = data_root / split
    if not folder.is_dir():
        raise InputError(
            f'neither {meta} nor {folder}; give the folder of ImageNet, '
            'which has train/ and val/, as data_root'
        )
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    labels = {
        f'{path.name}/{image.name}': label
        for label, path in enumerate(classes)
        for image in sorted(path.iterdir())
        if image.suffix.lower() in EXTENSIONS
    }
    if not labels:
        raise InputError(
            f'no images in {folder}/<class>/; sort them into a folder for '
            f'each class, or list them in {meta}, in lines such as '
            "'ILSVRC2012_val_00000001.JPEG 65'"
        )
    return labels


def read_list(file: Path) -> dict[str, int]:
    """Read the label of each image; blank lines are skipped."""
    labels = {}
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if not line.strip():
            continue
        image, _, label = line.strip().rpartition(' ')
        if not image or not label.isdigit():
            raise InputError(
                f'line {number} of {file} must be an image and its label, '
                f"such as 'n01440764/n01440764_18.JPEG 0', got {line!r}"
            )
        labels[image] = int(label)
    return labels


def main() -> None:
    args = parse_args()
    labels = read_labels(args.data_root, 'train')
    by_class = defaultdict(list)
    for image, label in labels.items():
        by_class[label].append(image)
    search: set[str] = set()
    for label, images in by_class.items():
        search |= hold_out(images, args.images_per_class, (args.seed, label))
    splits = {'train': labels.keys() - search, 'search': search}
    test = read_labels(args.data_root, 'val')
    require_disjoint(
        {
            name: [image.rpartition('/')[2] for image in images]
            for name, images in (splits | {'val': test}).items()
        }
    )
    folder = args.data_root / 'meta'
    folder.mkdir(exist_ok=True)
    for split, chosen in splits.items():
        file = folder / f'detnas_{split}.txt'
        lines = [
            f'{i} {label}\n' for i, label in labels.items() if i in chosen
        ]
        write_split(file, ''.join(lines))
        print(f'{file}: {len(lines):,} images of {len(by_class):,} classes')
    print(f'train, search and test ({len(test):,} images) share no image')


if __name__ == '__main__':
    run_command(main)
