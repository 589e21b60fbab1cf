"""Checks of annotation files, lists and images, and corrections.

mmdet and pycocotools score some annotation files wrongly without a word: an
object whose annotation has the id 0 never counts as found, a label is the
place of its category in the file, boxes of unknown types are left out.
"""

import math
import re
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree

from mmengine import fileio
from torch.utils import data as torch_data

from detnas_mm.datasets.calibration import FixedSubset
from detnas_mm.structures.coco_annotation import (
    annotation_fault,
    is_finite_number,
)
from detnas_mm.utils.errors import InputError, is_of_network
from detnas_mm.utils.files import text_digest

_LISTS = ('images', 'annotations', 'categories')
TWO_IDS = 'images under two ids'


@dataclass
class Cleaned:
    """An annotation file in which every field can be relied on.

    Attributes:
        content: The annotations, in the format of COCO.
        changed: What differs from the file: the values before the change, by
            a description of the change.
        noted: What is left as it is, and has no influence: the values by a
            description.
    """

    content: dict
    changed: dict[str, list] = field(default_factory=dict)
    noted: dict[str, list] = field(default_factory=dict)

    def describe(self, what: str) -> str:
        """Returns the numbers of what was ``'changed'`` or ``'noted'``."""
        return ', '.join(
            f'{len(values):,} {text} (such as {values[0]!r})'
            for text, values in getattr(self, what).items()
        )


def clean_annotations(
    content: Any, file: str, order: Sequence[str] = ()
) -> Cleaned:
    """Returns annotations in COCO's format without what is scored wrongly.

    Ids become whole numbers, and the ids of annotations positive and unique.
    The same image or category id becomes the same number in every file.
    Missing areas and ``iscrowd`` are added.

    Args:
        content: The content of the file; changed in place.
        file: Its name, for messages.
        order: Names of categories. If the file lists them in another order,
            they are brought into this one.

    Raises:
        InputError: If a value is wrong, and the right one is not plain.
    """
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key, []), list)
        and all(isinstance(entry, dict) for entry in content.get(key, []))
        for key in _LISTS
    ):
        raise InputError(
            f'{file} is not an annotation file in the format of COCO: '
            f'expected lists of objects in {", ".join(_LISTS)}'
        )
    changed, noted = defaultdict(list), defaultdict(list)
    pass_ = _Pass(file, changed, noted)
    categories = content.setdefault('categories', [])
    images = content.setdefault('images', [])
    sizes = {
        image['id']: (image['width'], image['height'])
        for image in pass_.entries('image', images, 'file_name')
    }
    names = pass_.entries('category', categories, 'name')
    labels = {category['id'] for category in names}
    pass_.annotations(content.setdefault('annotations', []), sizes, labels)
    _order_categories(categories, order, changed)
    return Cleaned(content, dict(changed), dict(noted))


@dataclass
class _Pass:
    """One pass over the entries of a file."""

    file: str
    changed: dict[str, list]
    noted: dict[str, list]

    def entries(self, kind: str, entries: list[dict], name: str) -> list[dict]:
        """Checks the images or categories."""
        known, names = set(), {}
        for number, entry in enumerate(entries):
            before = entry.get('id')
            self._set_id(kind, number, entry, 'id')
            if not isinstance(entry.get(name), str):
                self._refuse(kind, before, name, entry.get(name), 'a text')
            if entry['id'] in known:
                self._refuse(kind, before, 'id', before, 'an id of its own')
            if names.setdefault(entry[name], before) != before:
                if kind == 'category':
                    self._refuse(kind, before, name, entry[name], 'one name')
                self.noted[TWO_IDS].append(entry[name])
            known.add(entry['id'])
            for side in ('width', 'height') if kind == 'image' else ():
                size = entry.get(side)
                if not is_finite_number(size) or size <= 0:
                    self._refuse(kind, before, side, size, 'a positive number')
        return entries

    def annotations(
        self,
        annotations: list[dict],
        sizes: Mapping[int, tuple],
        categories: set[int],
    ) -> None:
        """Checks the annotations, of known images and categories."""
        for number, annotation in enumerate(annotations):
            name = annotation.get('id', f'number {number + 1}')
            for key, known in (
                ('image_id', sizes),
                ('category_id', categories),
            ):
                self._set_id('annotation', name, annotation, key)
                if annotation[key] not in known:
                    self.noted[f'annotations with `{key}` of none'].append(
                        annotation[key]
                    )
            self._complete(name, annotation, sizes)
        ids = [annotation.get('id') for annotation in annotations]
        odd = [i for i in ids if type(i) is not int or not 0 < i < 2**63]
        if not odd and len(set(ids)) < len(ids):
            odd = ids
        if odd:
            self.changed['annotation ids that are no use'] = odd
            for number, annotation in enumerate(annotations, 1):
                annotation['id'] = number

    def _complete(
        self, name: Any, annotation: dict, sizes: Mapping[int, tuple]
    ) -> None:
        """Adds missing fields, and refuses what is no number."""
        fault = annotation_fault(annotation)
        if fault:
            key, expected = fault
            value = annotation.get(key)
            self._refuse('annotation', name, key, value, expected)
        x, y, width, height = annotation['bbox']
        image = sizes.get(annotation['image_id'], (math.inf, math.inf))
        is_seen = (
            width >= 1
            and height >= 1
            and min(x + width, image[0]) > max(x, 0)
            and min(y + height, image[1]) > max(y, 0)
        )
        if not is_seen:
            self.noted['boxes of which no pixel is in the image'].append(
                annotation['bbox']
            )
        area, crowd = annotation.get('area'), annotation.get('iscrowd')
        if area is None or (area <= 0 and is_seen):
            self.changed['areas that are width x height'].append(area)
            annotation['area'] = width * height
        if type(crowd) is not int:
            self.changed['values of `iscrowd`'].append(crowd)
            annotation['iscrowd'] = int(crowd or 0)

    def _set_id(self, kind: str, name: Any, entry: dict, key: str) -> None:
        value = entry.get(key)
        if type(value) is int and abs(value) < 2**63:
            return
        number = _as_id(value)
        if number is None:
            self._refuse(kind, name, key, value, 'a whole number')
        self.changed[f'values of `{key}` ({kind})'].append(value)
        entry[key] = number

    def _refuse(
        self, kind: str, name: Any, key: str, value: Any, expected: str
    ) -> NoReturn:
        raise InputError(
            f'{self.file}: `{key}` of {kind} {name!r} is {value!r}, expected '
            f'{expected}; correct the file'
        )


def _as_id(value: Any) -> int | None:
    """Returns the whole number of an id, the same for the same id."""
    if isinstance(value, str):
        if re.fullmatch(r'-?[0-9]{1,18}', value):
            return int(value)
    elif isinstance(value, bool) or not is_finite_number(value):
        return None
    elif value == int(value) and abs(value) < 2**63:
        return int(value)
    return int(text_digest(str(value))[:15], 16)


def _order_categories(
    categories: list[dict], order: Sequence[str], changed: dict[str, list]
) -> None:
    places = {name: place for place, name in enumerate(order)}
    names = [c['name'] for c in categories if c['name'] in places]
    if names != sorted(names, key=places.get):
        changed['categories in another order than for training'] = names
        categories.sort(key=lambda c: places.get(c['name'], len(places)))


def check_voc_list(
    file: str | Path, folder: str | Path, classes: Sequence[str]
) -> list[str]:
    """Checks a list of images of VOC and their annotations.

    Args:
        file: The list, one name in each line.
        folder: The folder that holds ``Annotations``.
        classes: The names of the classes.

    Returns:
        The names of the images.

    Raises:
        InputError: If a line is blank, an annotation cannot be used, or no
            object counts.
    """
    names = Path(file).read_text().splitlines()
    counts = Counter()
    for number, name in enumerate(names, 1):
        if not name.strip() or name != name.strip():
            raise InputError(
                f'{file}: line {number} is {name!r}, expected the name of an '
                'image without spaces; correct the list'
            )
        xml = Path(folder, 'Annotations', f'{name}.xml')
        try:
            root = ElementTree.parse(xml).getroot()
        except (OSError, ElementTree.ParseError) as error:
            raise InputError(
                f'{xml}, which {file} lists, cannot be read: {error}; '
                'replace it, or take it off the list'
            ) from error
        for entry in root.findall('object'):
            counts[_check_object(entry, xml, classes)] += 1
    if counts['1'] and not counts['0']:
        raise InputError(
            f'all {counts["1"]:,} objects of the images in {file} are '
            '`difficult`: none counts for a score'
        )
    return names


def _check_object(
    entry: ElementTree.Element, xml: Path, classes: Sequence[str]
) -> str | None:
    """Returns ``difficult`` of an object, None if it is of another class."""
    sides = [f'bndbox/{side}' for side in ('xmin', 'ymin', 'xmax', 'ymax')]
    texts = {key: entry.findtext(key) for key in ('name', *sides)}
    difficult = entry.findtext('difficult', '0')
    name = texts.pop('name')
    close = [c for c in classes if c.lower() == str(name).strip().lower()]
    problem = None
    if name is None or (close and name not in classes):
        problem = ('name', name, repr(close[0]) if close else 'a class')
    elif difficult.strip() not in ('0', '1'):
        problem = ('difficult', difficult, '0 or 1')
    for key, text in texts.items():
        with suppress(TypeError, ValueError):
            if math.isfinite(float(text)):
                continue
        problem = (key, text, 'a number')
    if problem:
        raise InputError(
            '{}: `{}` of an object is {!r}, expected {}; correct the file '
            'or the `classes`'.format(xml, *problem)
        )
    return difficult.strip() if name in classes else None


def image_fault(data: bytes) -> str | None:
    """Returns why the content of an image file cannot be read, if so."""
    from PIL import Image

    if not data:
        return 'the file is empty'
    try:
        Image.open(BytesIO(data)).load()
    except Exception as error:
        if isinstance(error, Image.UnidentifiedImageError):
            return f'the file is no image, it begins with {data[:15]!r}'
        return str(error)
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


def is_of_loader(error: Exception) -> bool:
    """Return True if a data loader raised an error, or one of its workers."""
    loader = Path(torch_data.__file__).parent
    frames = traceback.extract_tb(error.__traceback__)
    return any(loader in Path(frame.filename).parents for frame in frames)


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
