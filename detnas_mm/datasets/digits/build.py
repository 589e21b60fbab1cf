"""The embedded data set: real handwritten digits on real photographs.

It is built on the spot from what ships inside scikit-learn, so that every
stage of a search can be run without a download. The folder holds::

    annotations/instances_{train,search,test}.json     detection, COCO
    {train,search,test}/000001.jpg
    classification/{train,val}/<class>/*.jpg           stage 1, ImageNet
    meta.json                                          settings and counts

``train``, ``search`` and ``test`` share no digit and no part of a
photograph. The classification crops for training are made of the ``train``
digits, those for validation of the ``search`` digits.
"""

import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2

from detnas_mm.datasets.digits.checks import check_layouts
from detnas_mm.datasets.digits.layouts import (
    write_classification,
    write_detection,
)
from detnas_mm.datasets.digits.sources import CROP_SPLITS, load_sources
from detnas_mm.utils.errors import InputError

# To be raised when the same settings draw other images than before.
FORMAT = 2
META_NAME = 'meta.json'
_REMEDY = (
    'pass `overwrite` (--overwrite) to replace it, or choose another folder'
)


def _setting(default: int, meaning: str) -> Any:
    return field(default=default, metadata={'help': meaning})


@dataclass(frozen=True, kw_only=True)
class DigitsSettings:
    """What decides the content of the data set.

    A larger number of images leaves the images of the smaller one as they
    are and adds more of them.
    """

    seed: int = _setting(0, 'decides the splits and every image')
    train_images: int = _setting(1000, 'images of the training split')
    search_images: int = _setting(200, 'images of the search split')
    test_images: int = _setting(300, 'images of the test split')
    train_crops: int = _setting(400, 'training crops of each class')
    val_crops: int = _setting(100, 'validation crops of each class')

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            least = 0 if name == 'seed' else 1
            if value < least:
                raise InputError(
                    f'`{name}` must be at least {least}, but got {value}'
                )


@dataclass(frozen=True)
class DigitsReport:
    """What is in a data set, as counted on the disk.

    Attributes:
        built (bool): False where it was complete already.
        counts (dict): Images, boxes, crops, and distinct digits by split.
    """

    built: bool
    counts: dict[str, dict[str, int]]


def build_digits(
    out: str | os.PathLike[str],
    settings: DigitsSettings,
    overwrite: bool = False,
) -> DigitsReport:
    """Build the data set in a temporary folder, check it, and rename it.

    Args:
        out (str or PathLike): Folder of the data set. It appears complete
            or not at all.
        settings (DigitsSettings): What to build. A complete data set of
            the same settings is checked and left alone.
        overwrite (bool): Whether to replace the data set that is there,
            whatever its settings.

    Returns:
        DigitsReport: Counts of the data set that is now in ``out``.

    Raises:
        InputError: If ``out`` holds files that are no digits data set, or
            one that is damaged or of other settings, without ``overwrite``.
    """
    out = Path(out).resolve()
    if _is_occupied(out):
        if not (out / META_NAME).is_file():
            raise InputError(
                f'`out` must be absent, empty or a digits data set, but {out} '
                'holds other files; choose another folder'
            )
        if not overwrite:
            counts = _read_existing(out, settings)
            return DigitsReport(built=False, counts=counts)
    with _appearing_complete(out) as folder:
        _write_layouts(folder, settings)
        counts = check_layouts(folder)
        meta = {
            'format': FORMAT,
            'settings': asdict(settings),
            'versions': _versions(),
            'counts': counts,
        }
        (folder / META_NAME).write_text(json.dumps(meta, indent=2) + '\n')
    return DigitsReport(built=True, counts=counts)


def _write_layouts(folder: Path, settings: DigitsSettings) -> None:
    sources = load_sources(settings.seed)
    for split in sources:
        images = getattr(settings, f'{split}_images')
        write_detection(folder, split, sources[split], images, settings.seed)
    for name, split in CROP_SPLITS.items():
        crops = getattr(settings, f'{name}_crops')
        write_classification(
            folder / 'classification' / name,
            name,
            sources[split],
            crops,
            settings.seed,
        )


def _is_occupied(out: Path) -> bool:
    """Whether ``out`` is anything but absent or an empty folder."""
    return out.exists() and not (out.is_dir() and not any(out.iterdir()))


def _read_existing(
    out: Path, settings: DigitsSettings
) -> dict[str, dict[str, int]]:
    """Count the data set in ``out``; refuse it if it is not as asked for."""
    try:
        meta = json.loads((out / META_NAME).read_text())
        built = {'format': meta['format'], **meta['settings']}
        counts = check_layouts(out)
        if counts != meta['counts']:
            raise InputError(f'expected {meta["counts"]}, but found {counts}')
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f'{out} is damaged ({error}); {_REMEDY}') from error
    wanted = {'format': FORMAT, **asdict(settings)}
    differing = [
        f'{name}={built.get(name)} and not {value}'
        for name, value in wanted.items()
        if built.get(name) != value
    ]
    if differing:
        raise InputError(
            f'{out} was built with {", ".join(differing)}; {_REMEDY}'
        )
    return counts


def _versions() -> dict[str, str]:
    """Versions that may change a byte of the images."""
    packages = ('numpy', 'scikit-learn', 'pillow')
    return {
        'python': platform.python_version(),
        'opencv': cv2.__version__,
        **{name: version(name) for name in packages},
    }


@contextmanager
def _appearing_complete(out: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``out`` that takes its place."""
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


def setting_help() -> dict[str, tuple[int, str]]:
    """Default and meaning of every setting, for a command line."""
    return {
        f.name: (f.default, f.metadata['help']) for f in fields(DigitsSettings)
    }
