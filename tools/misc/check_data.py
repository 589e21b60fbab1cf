"""Check all annotations and images of a config, and list what is wrong."""

import argparse
import copy
import io
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import PIL.Image
from mmengine.config import Config
from mmengine.registry import DATASETS
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

from detnas_mm.compat import setup_compat
from detnas_mm.datasets.checks import images_of, read_image
from detnas_mm.engine.data_checks import datasets_of, list_problems
from detnas_mm.utils.cli import add_common_arguments, load_config, run_command
from detnas_mm.utils.files import bytes_digest, write_atomically

EXIF_ORIENTATION = 274
PARTS = ('train', 'val', 'test')


class Row(NamedTuple):
    """A problem of a part, and what to leave out because of it."""

    part: str
    file: str
    text: str
    left_out: str = ''


class Image(NamedTuple):
    """An image of a data set, with what is wrong with it."""

    part: str
    file: str
    fault: str | None
    digest: str | None


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a training or a search')
    parser.add_argument(
        '--parts',
        nargs='+',
        choices=PARTS,
        default=['train', 'val'],
        help='whose data to check',
    )
    parser.add_argument(
        '--out',
        type=Path,
        help='text file for the names of what to leave out: entries that '
        'cannot be used, images that cannot be read, and all but the first '
        'of equal ones',
    )
    add_common_arguments(parser)
    return parser.parse_args()


def picture_fault(data: bytes, size: tuple[float, float]) -> str | None:
    """Returns what of a readable image does not fit its annotation.

    Args:
        data: The content of the file.
        size: Width and height in the annotation.
    """
    picture = PIL.Image.open(io.BytesIO(data))
    turned = picture.getexif().get(EXIF_ORIENTATION, 1)
    width, height = picture.size
    if turned in (5, 6, 7, 8):
        width, height = height, width
    if (width, height) == tuple(size):
        # Sizes do not tell what was turned by 180 degrees, or mirrored.
        if turned == 1 or picture.size != tuple(size):
            return None
        return (
            f'EXIF orientation {turned} turns or mirrors the picture: look '
            'whether the boxes are in the frame that is shown'
        )
    found = f'{width} x {height}'
    if turned != 1 and picture.size == tuple(size):
        return (
            f'EXIF orientation {turned} turns the picture to {found}: the '
            f'boxes are in the frame of {size[0]} x {size[1]}'
        )
    is_swapped = (height, width) == tuple(size)
    what = 'width and height are swapped' if is_swapped else 'another size'
    return f'{what}: {size[0]} x {size[1]} in the annotations, it is {found}'


def check_image(part: str, file: str, info: dict, source: dict) -> Image:
    data, fault = read_image(file, source.get('backend_args'))
    if fault:
        return Image(part, file, fault, None)
    size = info.get('width'), info.get('height')
    fault = picture_fault(data, size) if all(size) else None
    return Image(part, file, fault, bytes_digest(data))


def check_images(
    config: Config, parts: Iterable[str], rows: list[Row]
) -> Iterator[Image]:
    """Read all images, those that a filter leaves out as well."""
    for part in parts:
        for key, settings in datasets_of(config, part):
            settings = copy.deepcopy(dict(settings)) | dict(pipeline=[])
            settings.pop('filter_cfg', None)
            try:
                images = list(images_of(DATASETS.build(settings)))
            except Exception as error:
                text = f'its images are not checked: {error}'
                rows.append(Row(part, key, text))
                continue
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                checked = pool.map(
                    lambda image: check_image(*image),
                    ((part, *image, settings) for image in images),
                )
                yield from track(checked, key, len(images))


def find_faults(images: Iterable[Image]) -> Iterator[Row]:
    """Yield what is wrong with images, equal contents included."""
    first: dict[str, Image] = {}
    for image in images:
        part, file, fault, digest = image
        if fault:
            yield Row(part, file, fault, '' if digest else file)
        same = first.setdefault(digest or file, image)
        # Splits may be the same images; a warning says so.
        if same.file != file and digest:
            text = f'the same picture as {same.file} ({same.part})'
            yield Row(part, file, text, file)


def main() -> None:
    args = parse_args()
    setup_compat()
    config = load_config(args)
    parts = list(dict.fromkeys(args.parts))
    refused, noted = list_problems(config, parts)
    rows = [Row(part, *problem) for part, problem in refused + noted]
    images = list(check_images(config, parts, rows))
    rows += find_faults(images)
    if args.out is not None:
        left_out = sorted({row.left_out for row in rows} - {''})
        write_atomically(args.out, ''.join(f'{f}\n' for f in left_out))
        print(f'{args.out}: {len(left_out):,} entries to leave out')
    if not rows:
        print(f'{len(images):,} images of {", ".join(parts)}: nothing wrong')
        return
    columns = [Column(name, overflow='fold') for name in ('file', 'problem')]
    table = Table('split', *columns)
    for row in rows:
        table.add_row(*row[:3])
    Console().print(table)
    raise SystemExit(1)


if __name__ == '__main__':
    run_command(main)
