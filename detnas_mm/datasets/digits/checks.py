"""Check a digits data set by what lies on the disk, and count it."""

import hashlib
import json
import re
from pathlib import Path

from detnas_mm.datasets.digits.sources import CROP_SPLITS, SPLIT_SHARES
from detnas_mm.utils.errors import InputError

_CROP_NAME = re.compile(r'\d+_digit(\d+)\.jpg')


def check_layouts(root: Path) -> dict[str, dict[str, int]]:
    """Count a data set after proving its splits disjoint.

    Args:
        root (Path): Folder of the data set.

    Returns:
        dict: Number of ``images`` and of ``boxes`` by detection split, of
        ``crops`` by classification folder, and of distinct ``digits`` by
        detection split, crops included.

    Raises:
        InputError: If a digit is in two splits, if two images are equal, or
            if the images of a split are not those of its annotations.
    """
    counts: dict[str, dict[str, int]] = {'images': {}, 'boxes': {}}
    digits: dict[str, set[int]] = {}
    files: list[Path] = []
    for split in SPLIT_SHARES:
        images, ids = _read_detection(root, split)
        counts['images'][split] = len(images)
        counts['boxes'][split] = len(ids)
        digits[split] = set(ids)
        files += images
    counts['crops'] = {}
    for name, split in CROP_SPLITS.items():
        crops = sorted((root / 'classification' / name).glob('*/*'))
        counts['crops'][name] = len(crops)
        digits[split] |= {_crop_digit(crop) for crop in crops}
        files += crops
    _check_disjoint(digits)
    _check_distinct(files)
    counts['digits'] = {split: len(ids) for split, ids in digits.items()}
    return counts


def _read_detection(root: Path, split: str) -> tuple[list[Path], list[int]]:
    """Image files of a split and the digit of each of its annotations."""
    annotation_file = root / 'annotations' / f'instances_{split}.json'
    content = json.loads(annotation_file.read_text())
    named = {record['file_name'] for record in content['images']}
    files = sorted((root / split).iterdir())
    stored = {file.name for file in files}
    if named != stored:
        raise InputError(
            f'{root / split} must hold the {len(named)} images of '
            f'{annotation_file.name}, but differs in {len(named ^ stored)}'
        )
    return files, [item['digit_id'] for item in content['annotations']]


def _crop_digit(crop: Path) -> int:
    match = _CROP_NAME.fullmatch(crop.name)
    if match is None:
        raise InputError(f'{crop} is not a crop of this data set')
    return int(match[1])


def _check_disjoint(digits: dict[str, set[int]]) -> None:
    owner: dict[int, str] = {}
    for split, ids in digits.items():
        for digit in sorted(ids):
            if digit in owner:
                raise InputError(
                    f'splits must share no digit, but digit {digit} is in '
                    f'{owner[digit]} and {split}'
                )
            owner[digit] = split


def _check_distinct(files: list[Path]) -> None:
    seen: dict[bytes, Path] = {}
    for file in files:
        key = hashlib.sha256(file.read_bytes()).digest()
        if key in seen:
            raise InputError(
                f'images must be distinct, but {seen[key]} and {file} are '
                'equal'
            )
        seen[key] = file
