"""Checks of the lists and annotations of VOC, and of images."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from mmengine import fileio

from detnas_mm.datasets.calibration import FixedSubset
from detnas_mm.structures.coco_annotation import FieldError, Problem
from detnas_mm.utils.errors import InputError, is_of_network


def check_voc_list(
    file: str, folder: Path, classes: Sequence[str]
) -> tuple[list[str], list[Problem], list[Problem]]:
    """Checks a list of images of VOC, and their annotations in a folder.

    Returns:
        The names of the images that can be used, what is wrong, and what
        only looks wrong.
    """
    try:
        # Other than `splitlines`, as MMEngine reads it.
        lines = Path(file).read_text('utf-8').removesuffix('\n').split('\n')
    except ValueError as error:
        text = f'expected a text in UTF-8: {error}'
        return [], [Problem(file, text)], []
    problems: list[Problem] = []
    counts: Counter[str] = Counter()
    noted: dict[str, list[str]] = defaultdict(list)
    names: dict[str, bool] = {}
    for number, name in enumerate(lines, 1):
        if not name or name != name.strip() or name in names:
            text = f'line {number} is {name!r}, expected the name of another'
            text = f'{text} image, without spaces; correct the list'
            problems.append(Problem(file, text))
            continue
        xml = str(folder / f'{name}.xml')
        try:
            for entry in _read_objects(xml, classes):
                counts[entry.difficult] += entry.name in classes
                for text in entry.looks_wrong(classes):
                    noted[text].append(f'{entry.name!r} in {name}')
            names[name] = True
        except (OSError, SyntaxError, ValueError, LookupError) as error:
            text = f'{error}; correct the file, or take it off {file}'
            problems.append(Problem(xml, text, xml))
    if names and not counts['0']:
        text = f'all {counts["1"]:,} objects of its images are `difficult`'
        if not counts['1']:
            text = 'no object of its images is of one of the `classes`'
        problems.append(Problem(file, f'{text}: none counts for a score'))
    texts = [
        f'left as it is: {len(places):,} {text} (such as {places[0]})'
        for text, places in noted.items()
    ]
    return list(names), problems, [Problem(file, text) for text in texts]


class _Object(NamedTuple):
    name: str
    difficult: str
    box: tuple[float, float, float, float]
    size: tuple[float, float]
    is_repeated: bool

    def looks_wrong(self, classes: Sequence[str]) -> Iterator[str]:
        """Yields what looks wrong and may be right."""
        if self.name not in classes:
            yield 'objects of none of the `classes`'
            return
        left, top, right, bottom = self.box
        width, height = self.size
        is_seen = left < min(right, width) and top < min(bottom, height)
        if not is_seen or min(right, bottom) <= 0:
            yield 'boxes of which no pixel is in the image'
        elif min(left, top) < 0 or right > width + 1 or bottom > height + 1:
            yield 'boxes that reach out of the image'
        if self.is_repeated:
            yield 'boxes that are there twice'


def _read_objects(xml: str, classes: Sequence[str]) -> list[_Object]:
    """Checks a file, and returns its objects."""
    root = ElementTree.parse(xml).getroot()
    for side in ('width', 'height') if root.find('size') is not None else ():
        text = root.findtext(f'size/{side}', '')
        if not text.strip().isdecimal() or int(text) == 0:
            raise FieldError(f'size/{side}', text, 'a positive number')
    size = tuple(
        float(root.findtext(f'size/{side}', 'inf'))
        for side in ('width', 'height')
    )
    objects, known = [], set()
    for entry in root.findall('object'):
        name, difficult, box = _check_object(entry, classes)
        objects.append(
            _Object(name, difficult, box, size, (name, box) in known)
        )
        known.add((name, box))
    return objects


def _check_object(
    entry: ElementTree.Element, classes: Sequence[str]
) -> tuple[str, str, tuple[float, ...]]:
    """Returns name, ``difficult`` and box of an object."""
    name = entry.findtext('name')
    close = [c for c in classes if c.lower() == str(name).strip().lower()]
    if name is None or (close and name not in classes):
        raise FieldError('name', name, repr(close[0]) if close else 'a class')
    difficult = entry.findtext('difficult', '0')
    if difficult.strip() not in ('0', '1'):
        raise FieldError('difficult', difficult, '0 or 1')
    least, box = {}, []
    for side in ('xmin', 'ymin', 'xmax', 'ymax'):
        text = entry.findtext(f'bndbox/{side}')
        low = least.get(side[0], '-inf')
        try:
            # int() is what mmdet does; it fails for NaN and infinity.
            is_right = int(float(text)) >= float(low)
        except (TypeError, ValueError, OverflowError):
            is_right = False
        if not is_right:
            raise FieldError(f'bndbox/{side}', text, f'a number from {low} on')
        least[side[0]] = text
        box.append(float(text))
    return name, difficult.strip(), tuple(box)


def image_fault(data: bytes) -> str | None:
    """Returns why the content of an image file cannot be read, if so."""
    import cv2
    from PIL import Image

    if not data:
        return 'the file is empty'
    try:
        picture = Image.open(BytesIO(data))
        picture.load()
    except Exception as error:
        if isinstance(error, Image.UnidentifiedImageError):
            return f'the file is no image, it begins with {data[:15]!r}'
        return str(error)
    if cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is None:
        return f'OpenCV cannot read the format {picture.format}'
    return None


def images_of(dataset: Any) -> Iterator[tuple[str, dict]]:
    """Yields file and annotations of each image of a data set.

    Data sets that do not tell their files yield nothing.
    """
    indices = range(len(dataset))
    if isinstance(dataset, FixedSubset):
        dataset, indices = dataset.dataset, dataset.indices
    for index in indices if hasattr(dataset, 'get_data_info') else ():
        info = dataset.get_data_info(index)
        if isinstance(info.get('img_path'), str):
            yield info['img_path'], info


def read_image(
    file: str, backend_args: Mapping | None = None
) -> tuple[bytes, str | None]:
    """Returns the content of an image file, and why it cannot be read."""
    try:
        data = fileio.get(file, backend_args=backend_args)
    except OSError as error:
        return b'', error.strerror or str(error)
    return data, image_fault(data)


def require_readable(datasets: Iterable[Any], error: Exception) -> None:
    """Looks for an image that explains an error, by reading them all.

    Args:
        datasets: The data sets that were used.
        error: The error.

    Raises:
        InputError: If there is one.
    """
    if isinstance(error, InputError) or is_of_network(error):
        return
    for dataset in datasets:
        inner = getattr(dataset, 'dataset', dataset)
        for file, _ in images_of(dataset):
            _, fault = read_image(file, getattr(inner, 'backend_args', None))
            if fault:
                raise InputError(
                    f'cannot read the image {file}: {fault}; replace it, or '
                    'list all such images by `python '
                    'tools/misc/check_data.py CONFIG`'
                ) from error
