"""Split off a search split from VOC's trainval2007 and trainval2012."""

import argparse
from pathlib import Path

from detnas_mm.datasets.search_split import (
    hold_out,
    require_disjoint,
    write_split,
)
from detnas_mm.utils.cli import run_command
from detnas_mm.utils.errors import InputError

YEARS = ('2007', '2012')
TEST_YEAR = '2007'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'data_root', type=Path, help='folder of VOC2007 and VOC2012'
    )
    parser.add_argument(
        '--search-images',
        type=int,
        default=5000,
        help='images of the search split',
    )
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


def list_file(data_root: Path, year: str, split: str) -> Path:
    return data_root / f'VOC{year}' / 'ImageSets' / 'Main' / f'{split}.txt'


def read_images(data_root: Path, year: str, split: str) -> list[str]:
    """Read a list of images as ``VOC2007/000005``."""
    file = list_file(data_root, year, split)
    if not file.is_file():
        hint = (
            'give the folder of VOC2007 and VOC2012 (VOCdevkit) as data_root'
        )
        if split == 'test':
            hint = f'unpack VOCtest{year} into the same folder as VOCtrainval'
        raise InputError(f'no list of images at {file}; {hint}')
    return [f'VOC{year}/{name}' for name in file.read_text().split()]


def main() -> None:
    args = parse_args()
    trainval = {
        year: read_images(args.data_root, year, 'trainval') for year in YEARS
    }
    images = [image for year in YEARS for image in trainval[year]]
    test = read_images(args.data_root, TEST_YEAR, 'test')
    search = hold_out(images, args.search_images, args.seed)
    splits = {'train': set(images) - search, 'search': search}
    require_disjoint(splits | {f'test{TEST_YEAR}': test})
    for split, chosen in splits.items():
        for year in YEARS:
            file = list_file(args.data_root, year, f'detnas_{split}')
            names = [image for image in trainval[year] if image in chosen]
            lines = [f'{name.partition("/")[2]}\n' for name in names]
            write_split(file, ''.join(lines))
            print(f'{file}: {len(names):,} images')
    for split, chosen in splits.items():
        print(f'{split}: {len(chosen):,} images')
    print(f'train, search and test ({len(test):,} images) share no image')


if __name__ == '__main__':
    run_command(main)
