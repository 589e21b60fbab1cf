"""Annotations in COCO's format without what is scored wrongly.

mmdet and pycocotools score some annotation files wrongly without a word: an
object whose annotation has the id 0 never counts as found, a label is the
place of its category in the file, boxes of unknown types are left out.
"""

import math
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from detnas_mm.utils.files import text_digest

_LISTS = ('images', 'annotations', 'categories')
TWO_IDS = 'images under two ids'


class Problem(NamedTuple):
    """What is wrong with a file, and the entry that could be left out."""

    file: str
    text: str
    entry: str = ''

    def __str__(self) -> str:
        return f'{self.file}: {self.text}' if self.file else self.text


class FieldError(ValueError):
    """The arguments are a field, its value, and what was expected."""

    def __str__(self) -> str:
        return '`{}` is {!r}, expected {}'.format(*self.args)


class CleanAnnotations:
    """Annotations in COCO's format in which every field can be relied on.

    Ids become whole numbers, and the ids of annotations positive and unique.
    The same image or category id becomes the same number in every file.
    Missing areas and ``iscrowd`` are added.

    Args:
        content: The content of a file; changed in place.
        file: Its name, for messages.
        order: Names of categories. If the file lists them in another order,
            they are brought into this one.

    Attributes:
        content: The annotations.
        refused: What is wrong and has no plain right value; these entries
            are not in ``content``.
        changed: What differs from the file: the values before the change, by
            a description of the change.
        noted: What looks wrong and is left as it is, in the same form.
    """

    def __init__(
        self, content: Any, file: str, order: Sequence[str] = ()
    ) -> None:
        self.content, self.refused = content, list[Problem]()
        self.changed, self.noted = defaultdict(list), defaultdict(list)
        self._file = file
        # Sizes of images and ids of categories.
        self._known: dict[str, dict] = {'image_id': {}, 'category_id': {}}
        self._names, self._boxes = set[tuple[str, str]](), set[int]()
        # Annotations that count for a score.
        self._number = 0
        if not isinstance(content, dict) or not all(
            isinstance(content.get(key, []), list)
            and all(isinstance(entry, dict) for entry in content.get(key, []))
            for key in _LISTS
        ):
            text = f'expected lists of objects in {", ".join(_LISTS)}'
            self.refused.append(Problem(file, f'{text}, as in COCO'))
            self.content = {key: [] for key in _LISTS}
            return
        for key in _LISTS:
            content.setdefault(key, [])
        self._each('image', content['images'])
        self._each('category', content['categories'])
        self._each('annotation', content['annotations'])
        self._number_annotations(content['annotations'])
        self._order_categories(content['categories'], order)

    def describe(self, what: str) -> str:
        """Returns the numbers of what was ``'changed'`` or ``'noted'``."""
        return ', '.join(
            f'{len(values):,} {text} (such as {values[0]!r})'
            for text, values in getattr(self, what).items()
        )

    def _each(self, kind: str, entries: list[dict]) -> None:
        """Checks entries, and takes out what is refused."""
        check = getattr(self, f'_check_{kind}')
        usable = []
        for number, entry in enumerate(entries, 1):
            before = entry.get('id')
            try:
                check(entry)
            except FieldError as error:
                place = f'number {number}' if before is None else repr(before)
                name = f'{kind} {place}'
                text = f'{name}: {error}; correct the file'
                problem = Problem(self._file, text, f'{self._file}: {name}')
                self.refused.append(problem)
            else:
                usable.append(entry)
        entries[:] = usable

    def _check_image(self, image: dict) -> None:
        is_new = self._is_new('image', image, 'file_name')
        for side in ('width', 'height'):
            size = image.get(side)
            if not is_finite_number(size) or size <= 0:
                raise FieldError(side, size, 'a positive number')
        self._known['image_id'][image['id']] = image['width'], image['height']
        if not is_new:
            self.noted[TWO_IDS].append(image['file_name'])

    def _check_category(self, category: dict) -> None:
        if not self._is_new('category', category, 'name'):
            raise FieldError('name', category['name'], 'a name of its own')
        self._known['category_id'][category['id']] = category['name']

    def _is_new(self, kind: str, entry: dict, key: str) -> bool:
        """Checks id and name; returns False if the name is known."""
        before, name = entry.get('id'), entry.get(key)
        self._set_id(kind, entry, 'id')
        if not isinstance(name, str) or not name:
            raise FieldError(key, name, 'a text')
        if entry['id'] in self._known[f'{kind}_id']:
            raise FieldError('id', before, 'an id of its own')
        path = kind, os.path.normpath(name) if kind == 'image' else name
        is_new = path not in self._names
        self._names.add(path)
        return is_new

    def _check_annotation(self, annotation: dict) -> None:
        is_known = True
        for key, known in self._known.items():
            before = annotation.get(key)
            self._set_id('annotation', annotation, key)
            if annotation[key] not in known:
                is_known = False
                self.noted[f'annotations with `{key}` of none'].append(before)
        require_usable(annotation)
        is_seen = self._is_seen(annotation)
        area, crowd = annotation.get('area'), annotation.get('iscrowd')
        _, _, width, height = annotation['bbox']
        if area is None or (area <= 0 and is_seen):
            self.changed['areas that are width x height'].append(area)
            annotation['area'] = width * height
        elif is_seen and area > 2 * width * height:
            self.noted['areas far larger than their box'].append(area)
        if type(crowd) is not int:
            self.changed['values of `iscrowd`'].append(crowd)
            annotation['iscrowd'] = int(crowd or 0)
        self._number += is_known and is_seen and not crowd

    def _is_seen(self, annotation: dict) -> bool:
        """Returns True if a pixel of a box is in its image."""
        image, box = annotation['image_id'], annotation['bbox']
        sizes = self._known['image_id']
        right, bottom = sizes.get(image, (math.inf, math.inf))
        x, y, width, height = box
        is_seen = (
            min(width, height) >= 1
            and min(x + width, right) > max(x, 0)
            and min(y + height, bottom) > max(y, 0)
        )
        if not is_seen:
            self.noted['boxes of which no pixel is in the image'].append(box)
        elif min(x, y, right - x - width, bottom - y - height) < -1:
            self.noted['boxes that reach out of the image'].append(box)
        if annotation.get('ignore'):
            self.noted['boxes with `ignore`, not used to train'].append(box)
        place = hash((image, annotation['category_id'], *box))
        if place in self._boxes:
            self.noted['boxes that are there twice'].append(box)
        self._boxes.add(place)
        return is_seen

    def _set_id(self, kind: str, entry: dict, key: str) -> None:
        value = entry.get(key)
        if type(value) is int and abs(value) < 2**63:
            return
        number = _as_id(value)
        if number is None:
            raise FieldError(key, value, 'a whole number')
        self.changed[f'values of `{key}` ({kind})'].append(value)
        entry[key] = number

    def _number_annotations(self, annotations: list[dict]) -> None:
        if annotations and not self._number:
            text = f'none of its {len(annotations):,} annotations counts'
            self.refused.append(Problem(self._file, f'{text}; correct it'))
        ids = [annotation.get('id') for annotation in annotations]
        odd = [i for i in ids if type(i) is not int or not 0 < i < 2**63]
        if odd or len(set(ids)) < len(ids):
            self.changed['annotation ids that are no use'] = odd or ids
            for number, annotation in enumerate(annotations, 1):
                annotation['id'] = number

    def _order_categories(
        self, categories: list[dict], order: Sequence[str]
    ) -> None:
        places = {name: place for place, name in enumerate(order)}
        names = [c['name'] for c in categories if c['name'] in places]
        if names != sorted(names, key=places.get):
            self.changed['categories not in the order of training'] = names
            categories.sort(key=lambda c: places.get(c['name'], len(places)))


def _as_id(value: Any) -> int | None:
    """Returns the whole number of an id, the same for the same id."""
    if isinstance(value, str):
        if re.fullmatch(r'\s*[+-]?0*[0-9]{1,18}(\.0*)?\s*', value):
            return int(value.partition('.')[0])
    elif isinstance(value, bool) or not is_finite_number(value):
        return None
    elif value == int(value) and abs(value) < 2**63:
        return int(value)
    return int(text_digest(str(value))[:15], 16)


def require_usable(annotation: Mapping) -> None:
    """Checks the fields of an annotation that a score depends on.

    ``area`` and ``iscrowd`` may be missing or null: their values are plain.

    Raises:
        FieldError: If one cannot be used.
    """
    box, area = annotation.get('bbox'), annotation.get('area')
    if (
        not isinstance(box, list)
        or len(box) != 4
        or not all(map(is_finite_number, box))
    ):
        raise FieldError('bbox', box, 'four finite numbers')
    if area is not None and not is_finite_number(area):
        raise FieldError('area', area, 'a finite number')
    crowd = annotation.get('iscrowd')
    if isinstance(crowd, str) or crowd not in (None, 0, 1):
        raise FieldError('iscrowd', crowd, '0 or 1')


def is_finite_number(value: Any) -> bool:
    """Return True for a number as JSON has it that can be multiplied."""
    return type(value) in (int, float) and abs(value) < 1e100
