"""Split off a search split from annotations in COCO's format (Section 4)."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from detnas_mm.datasets.search_split import (
    hold_out,
    require_disjoint,
    write_split,
)
from detnas_mm.structures.coco_annotation import TWO_IDS, CleanAnnotations
from detnas_mm.utils.cli import run_command
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import file_digest


@dataclass(frozen=True)
class Source:
    """The annotation files and image folders of a data set.

    Attributes:
        train: Training annotations, each with the folder that is put before
            its file names, so that they can be merged.
        test: Annotations of the final test.
        folders: Folders of training and test images. If given, images are
            compared by the content of their files, not by their ids.
    """

    train: tuple[tuple[str, str], ...]
    test: str | None
    folders: tuple[Path, Path] | None = None


YEARS = {
    '2017': Source(
        train=(('annotations/instances_train2017.json', ''),),
        test='annotations/instances_val2017.json',
    ),
    # trainval35k; the same images as train2017.
    '2014': Source(
        train=(
            ('annotations/instances_train2014.json', 'train2014/'),
            ('annotations/instances_valminusminival2014.json', 'val2014/'),
        ),
        test='annotations/instances_minival2014.json',
    ),
}

# For training and for test images.
_FOLDER_OPTIONS = ('--img-dir', '--test-img-dir')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('data_root', type=Path, help='such as data/coco')
    parser.add_argument(
        '--year',
        choices=YEARS,
        default='2017',
        help='files of COCO: train2017, or the same images (trainval35k) in '
        'the files of 2014',
    )
    parser.add_argument(
        '--ann-file',
        help='training annotations of other data, relative to the data root',
    )
    parser.add_argument(
        '--test-ann-file', help='test annotations of other data'
    )
    parser.add_argument(
        '--img-dir',
        help='images of --ann-file, relative to the data root; no image may '
        'occur twice or among the test images',
    )
    parser.add_argument(
        '--test-img-dir', help='images of --test-ann-file (default: --img-dir)'
    )
    parser.add_argument(
        '--name',
        help='suffix of the written files, by default the year',
    )
    parser.add_argument(
        '--search-images',
        type=int,
        default=5000,
        help='images of the search split',
    )
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


def find_source(args: argparse.Namespace) -> Source:
    if args.ann_file is None:
        if args.test_ann_file or args.img_dir or args.test_img_dir:
            raise InputError(
                '--test-ann-file, --img-dir and --test-img-dir go with '
                '--ann-file; COCO needs none of them'
            )
        return YEARS[args.year]
    if args.test_ann_file and not args.img_dir:
        raise InputError(
            '--test-ann-file needs --img-dir: ids may repeat in each file, '
            'so images are compared by content'
        )
    folders = None
    if args.img_dir:
        test_folder = args.test_img_dir or args.img_dir
        folders = args.data_root / args.img_dir, args.data_root / test_folder
    return Source(((args.ann_file, ''),), args.test_ann_file, folders)


def read(file: Path) -> dict:
    if not file.is_file():
        raise InputError(
            f'no annotations at {file}; give the folder that has annotations/ '
            'as data_root (COCO: see mmdet, user guide, "Prepare datasets")'
        )
    try:
        content = json.loads(file.read_text())
    except ValueError as error:
        raise InputError(f'{file} is no JSON: {error}') from error
    lists = ('images', 'annotations', 'categories')
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), list) for key in lists
    ):
        raise InputError(
            f'{file} holds no annotations of COCO: expected an object with '
            f'lists of {", ".join(lists)}'
        )
    if not content['images']:
        raise InputError(f'{file} lists no images')
    cleaned = CleanAnnotations(content, str(file))
    if cleaned.refused:
        raise InputError(str(cleaned.refused[0]))
    twice = cleaned.noted.get(TWO_IDS)
    if twice:
        raise InputError(
            f'{file} lists the image {twice[0]} under two ids, of which each '
            'could come into another split; correct the file'
        )
    return content


def make_minival(data_root: Path) -> None:
    """Write minival2014 and valminusminival2014, unless they exist.

    Detectron distributed these files. minival2014 has the images of val2017.
    """
    folder = data_root / 'annotations'
    names = ('minival', 'valminusminival')
    files = [folder / f'instances_{name}2014.json' for name in names]
    if all(file.is_file() for file in files):
        return
    val2014 = read(folder / 'instances_val2014.json')
    val2017 = read(folder / 'instances_val2017.json')
    minival = {image['id'] for image in val2017['images']}
    rest = {image['id'] for image in val2014['images']} - minival
    for file, ids in zip(files, (minival, rest), strict=True):
        write_split(file, json.dumps(select(val2014, ids)))


def merge(data_root: Path, source: Source) -> dict:
    """Return the training annotations as one file."""
    merged: dict | None = None
    for file, folder in source.train:
        content = read(data_root / file)
        for image in content['images']:
            image['file_name'] = folder + image['file_name']
        if merged is None:
            merged = content
            continue
        if content['categories'] != merged['categories']:
            raise InputError(
                f'the categories of {file} differ from the first file'
            )
        for key in ('images', 'annotations'):
            merged[key] += content[key]
    return merged


def select(annotations: dict, ids: set[int]) -> dict:
    return annotations | {
        'images': [i for i in annotations['images'] if i['id'] in ids],
        'annotations': [
            a for a in annotations['annotations'] if a['image_id'] in ids
        ],
    }


def split_images(
    annotations: dict, search_images: int, seed: int
) -> dict[str, dict]:
    """Split COCO annotations into ``train`` and ``search``.

    Raises:
        InputError: If there are not enough images.
    """
    ids = [image['id'] for image in annotations['images']]
    held_out = hold_out(ids, search_images, seed)
    return {
        'train': select(annotations, set(ids) - held_out),
        'search': select(annotations, held_out),
    }


def check(splits: dict[str, dict], data_root: Path, source: Source) -> str:
    """Check that splits and test images are disjoint; return a summary."""
    parts = dict(splits)
    names = 'train and search'
    is_coco = source.folders is None
    if source.test and (not is_coco or (data_root / source.test).is_file()):
        parts['test'] = read(data_root / source.test)
        count = len(parts['test']['images'])
        names = f'train, search and test ({count:,} images)'
    if is_coco:
        keys = {
            name: [image['id'] for image in content['images']]
            for name, content in parts.items()
        }
    else:
        keys = compare_contents(parts, source.folders)
    require_disjoint(keys)
    if source.test and 'test' not in parts:
        names += f' (no {source.test} to compare with)'
    return f'{names} share no image'


def compare_contents(
    parts: dict[str, dict], folders: tuple[Path, Path]
) -> dict[str, list[str]]:
    """Return, for each image, the first file with the same content."""
    first: dict[str, str] = {}
    keys = {}
    for name, content in parts.items():
        index = int(name == 'test')
        files = [
            folders[index] / image['file_name'] for image in content['images']
        ]
        missing = [file for file in files if not file.is_file()]
        if missing:
            raise InputError(
                f'no image at {missing[0]}; set {_FOLDER_OPTIONS[index]} to '
                f'the folder of the images of {name}, relative to the data '
                'root'
            )
        empty = [file for file in files if not file.stat().st_size]
        if empty:
            raise InputError(
                f'{len(empty)} image files are empty, such as {empty[0]}; '
                'replace them'
            )
        keys[name] = [
            first.setdefault(file_digest(file), str(file)) for file in files
        ]
    return keys


def main() -> None:
    args = parse_args()
    source = find_source(args)
    if source is YEARS['2014']:
        make_minival(args.data_root)
    annotations = merge(args.data_root, source)
    splits = split_images(annotations, args.search_images, args.seed)
    checked = check(splits, args.data_root, source)
    if len(source.train) > 1:
        splits['trainval'] = annotations
    folder = (args.data_root / source.train[0][0]).parent
    name = args.year if args.name is None else args.name
    for split, content in splits.items():
        file = folder / f'detnas_{split}{name}.json'
        write_split(file, json.dumps(content))
        print(f'{file}: {describe(content)}')
    print(checked)


def describe(annotations: dict) -> str:
    """Describe the number of images and boxes, and of images with boxes."""
    count = len(annotations['images'])
    boxes = annotations['annotations']
    with_boxes = len({box['image_id'] for box in boxes})
    some = f' ({with_boxes:,} with boxes)' if with_boxes < count else ''
    return f'{count:,} images{some}, {len(boxes):,} boxes'


if __name__ == '__main__':
    run_command(main)
