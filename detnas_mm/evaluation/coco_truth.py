"""Ground truth of a COCO evaluation, in the form that hotcoco takes."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property

import hotcoco
import numpy as np
from mmdet.datasets.api_wrappers import COCO

from detnas_mm.structures.coco_annotation import FieldError, require_usable
from detnas_mm.utils.errors import InputError


class CocoTruth:
    """Numbers images, categories and annotations from 1.

    hotcoco takes integers, and pycocotools counts an object as not found if
    its id is 0. So the ids of the file, of any type, are used only to join
    its parts.

    Args:
        api: The ground truth. Its annotations are changed in place: they get
            new ids, and the missing fields ``iscrowd`` and ``area``.
        category_ids: Id of the category of each label.

    Attributes:
        image_numbers: Number of each image id. The order is the order of ids,
            since it decides between equal scores of different images.
        category_numbers: Number of the category of each label.

    Raises:
        InputError: If a field of an annotation cannot be used.
    """

    def __init__(self, api: COCO, category_ids: Sequence[Hashable]) -> None:
        self.image_numbers = _numbers(api.imgs)
        self._numbers = _numbers(category_ids)
        self.category_numbers = np.array(
            [self._numbers[i] for i in category_ids], int
        )
        self._api, self._category_ids = api, category_ids
        annotations = api.dataset.get('annotations', [])
        for number, annotation in enumerate(annotations, 1):
            _complete(annotation)
            annotation['id'] = number
        api.createIndex()
        self._annotations = [
            annotation
            for annotation in annotations
            if annotation['image_id'] in self.image_numbers
            and annotation['category_id'] in self._numbers
        ]

    @cached_property
    def boxes(self) -> hotcoco.COCO:
        """Ground truth of boxes."""
        return self._columns(self._annotations)

    @cached_property
    def masks(self) -> hotcoco.COCO:
        """Ground truth of masks."""
        masks = [self._api.annToRLE(a) for a in self._annotations]
        return self._columns(self._annotations, segmentation=masks)

    @cached_property
    def proposals(self) -> hotcoco.COCO:
        """Ground truth of boxes, all in the category 1.

        As in pycocotools, the objects of an image are sorted by label, which
        decides between equal overlaps.
        """
        labels = {i: label for label, i in enumerate(self._category_ids)}
        objects = sorted(
            self._annotations, key=lambda a: labels[a['category_id']]
        )
        return self._columns(objects, category_ids=[1] * len(objects))

    def _columns(
        self, annotations: Sequence[Mapping], **columns: Sequence
    ) -> hotcoco.COCO:
        columns.setdefault(
            'category_ids',
            [self._numbers[a['category_id']] for a in annotations],
        )
        return hotcoco.COCO.from_arrays(
            [dict(id=number) for number in self.image_numbers.values()],
            [dict(id=n, name=str(n)) for n in self._numbers.values()],
            [self.image_numbers[a['image_id']] for a in annotations],
            boxes=np.array([a['bbox'] for a in annotations]).reshape(-1, 4),
            area=[float(a['area']) for a in annotations],
            iscrowd=[a['iscrowd'] for a in annotations],
            **columns,
        )


def _numbers(ids: Iterable[Hashable]) -> dict[Hashable, int]:
    """Returns numbers from 1 in the order of the ids."""
    ids = list(dict.fromkeys(ids))
    # Ids of different types have no order: keep the order of the file.
    with suppress(TypeError):
        ids = sorted(ids)
    return {i: number for number, i in enumerate(ids, 1)}


def _complete(annotation: dict) -> None:
    """Adds missing fields, and refuses what cannot be used."""
    try:
        require_usable(annotation)
    except FieldError as error:
        name = f'annotation {annotation["id"]!r} in the file of the metric'
        raise InputError(f'{name}: {error}; correct it') from error
    *_, width, height = annotation['bbox']
    if annotation.get('area') is None:
        annotation['area'] = width * height
    annotation['iscrowd'] = int(annotation.get('iscrowd') or 0)
