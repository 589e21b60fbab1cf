"""The embedded data set: real handwritten digits on real photographs.

It is built from data that ships inside scikit-learn, so that every stage of a
search runs without a download. The folder holds::

    annotations/instances_{train,search,test}.json     detection, COCO
    {train,search,test}/000001.jpg
    classification/{train,val}/<class>/*.jpg           stage 1, ImageNet
    meta.json                                          settings and counts

``train``, ``search`` and ``test`` share no digit and no part of a
photograph. Classification crops for training show digits of ``train``, crops
for validation digits of ``search``.
"""

import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import cv2

from detnas_mm.datasets.digits.layouts import (
    write_classification,
    write_detection,
)
from detnas_mm.datasets.digits.settings import DigitsSettings
from detnas_mm.datasets.digits.sources import (
    CROP_SPLITS,
    SPLIT_SHARES,
    load_sources,
)
from detnas_mm.datasets.search_split import require_disjoint
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import file_digest

# Raise it when the same settings give other images than before.
FORMAT = 2
META_NAME = 'meta.json'
_PACKAGES = ('numpy', 'scikit-learn', 'pillow')
_REMEDY = (
    'pass `overwrite` (--overwrite) to replace it, or choose another folder'
)

Counts = dict[str, dict[str, int]]


@dataclass(frozen=True)
class DigitsReport:
    """Content of a data set on disk."""

    built: bool  # False if it was complete already
    counts: Counts  # images, boxes, crops, and distinct digits by split


def build_digits(
    out: str | os.PathLike[str],
    settings: DigitsSettings,
    overwrite: bool = False,
) -> DigitsReport:
    """Build the data set in a temporary folder, verifies and renames it.

    Args:
        out: Folder of the data set. It appears complete or not at all.
        settings: The settings. A complete data set with the same settings is
            verified and left alone.
        overwrite: Whether to replace a data set that is there, whatever its
            settings.
    """
    out = Path(out).resolve()
    is_empty_folder = out.is_dir() and not any(out.iterdir())
    if out.exists() and not is_empty_folder:
        if not (out / META_NAME).is_file():
            raise InputError(
                f'`out` must be absent, empty or a digits data set, but {out} '
                'holds other files; choose another folder'
            )
        if not overwrite:
            return DigitsReport(False, _verify_existing(out, settings))
    with _replacing(out) as folder:
        sources = load_sources(settings.seed)
        for split in sources:
            images = getattr(settings, f'{split}_images')
            write_detection(folder, split, sources[split], images, settings)
        for name, split in CROP_SPLITS.items():
            crops = getattr(settings, f'{name}_crops')
            write_classification(
                folder, name, sources[split], crops, settings.seed
            )
        counts = _verify(folder)
        meta = {
            'format': FORMAT,
            'settings': asdict(settings),
            # Versions of packages that may change a byte of the images.
            'versions': {
                'python': platform.python_version(),
                'opencv': cv2.__version__,
                **{name: version(name) for name in _PACKAGES},
            },
            'counts': counts,
        }
        (folder / META_NAME).write_text(json.dumps(meta, indent=2) + '\n')
    return DigitsReport(True, counts)


def _verify(root: Path) -> Counts:
    """Check that the splits share nothing; counts what is on disk."""
    counts: Counts = {'images': {}, 'boxes': {}, 'crops': {}, 'digits': {}}
    digits, images = {}, {}
    for split in SPLIT_SHARES:
        file = root / 'annotations' / f'instances_{split}.json'
        boxes = json.loads(file.read_text())['annotations']
        digits[split] = {box['digit_id'] for box in boxes}
        images[split] = [file_digest(f) for f in (root / split).iterdir()]
        counts['images'][split] = len(images[split])
        counts['boxes'][split] = len(boxes)
    for name, split in CROP_SPLITS.items():
        crops = list((root / 'classification' / name).glob('*/*'))
        digits[split] |= {int(crop.stem[-4:]) for crop in crops}
        images[split] += map(file_digest, crops)
        counts['crops'][name] = len(crops)
    require_disjoint(digits, 'digits')
    require_disjoint(images)
    counts['digits'] = {split: len(ids) for split, ids in digits.items()}
    return counts


def _verify_existing(out: Path, settings: DigitsSettings) -> Counts:
    """Verify a data set that was built before, with its settings."""
    try:
        meta = json.loads((out / META_NAME).read_text())
        built = {'format': meta['format'], **asdict(DigitsSettings())}
        built |= meta['settings']
        counts = _verify(out)
        if counts != meta['counts']:
            raise InputError(f'expected {meta["counts"]}, but found {counts}')
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f'{out} is damaged ({error}); {_REMEDY}') from error
    expected = {'format': FORMAT, **asdict(settings)}
    different = [
        f'{name}={built.get(name)} and not {value}'
        for name, value in expected.items()
        if built.get(name) != value
    ]
    if different:
        raise InputError(
            f'{out} was built with {", ".join(different)}; {_REMEDY}'
        )
    return counts


@contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces ``out`` in the end."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f'.{out.name}.partial-{os.getpid()}')
    replaced = out.with_name(f'.{out.name}.replaced-{os.getpid()}')
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        if out.exists():
            out.rename(replaced)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)
