"""Wrong values in annotations, lists and images are corrected or named."""

import copy
import io
import math
import uuid

import numpy as np
import pytest
from PIL import Image

from detnas_mm.datasets.checks import (
    check_voc_list,
    clean_annotations,
    image_fault,
    require_readable,
)
from detnas_mm.utils.errors import InputError

CLASSES = ('cat', 'dog')


def truth(images=3):
    """Two boxes in each image of 20 x 10 pixels."""
    return dict(
        images=[
            dict(id=i, file_name=f'{i}.png', width=20, height=10)
            for i in range(1, images + 1)
        ],
        categories=[dict(id=i, name=n) for i, n in enumerate(CLASSES, 1)],
        annotations=[
            dict(
                id=2 * i + k,
                image_id=i + 1,
                category_id=k,
                bbox=[k, i, 4, 5],
                area=20,
                iscrowd=0,
            )
            for i in range(images)
            for k in (1, 2)
        ],
    )


def put(part, key, make):
    """Returns annotations in which a field of a part is changed."""
    content = truth()
    for number, entry in enumerate(content[part]):
        entry[key] = make(entry.get(key, number))
    return content


def put_id(part, reference, make):
    """Changes ids and what refers to them."""
    content = put(part, 'id', make)
    for annotation in content['annotations']:
        annotation[reference] = make(annotation[reference])
    return content


def without(part, key):
    content = truth()
    for entry in content[part]:
        del entry[key]
    return content


def joined(content):
    """What the ids join: file, class, box, area and crowd of each object."""
    images = {i['id']: i['file_name'] for i in content['images']}
    names = {c['id']: c['name'] for c in content['categories']}
    return [
        (
            images[a['image_id']],
            names[a['category_id']],
            a['bbox'],
            a['area'],
            a['iscrowd'],
        )
        for a in content['annotations']
    ]


IDS = {
    'negative': lambda i: -i,
    'text': str,
    'zero-padded': lambda i: f'{i:06d}',
    'floats': float,
    'fractions': lambda i: i + 0.5,
    'partly text': lambda i: str(i) if i % 2 else i,
    'uuid': lambda i: str(uuid.UUID(int=i * 7919 << 64)),
    'from 2**63': lambda i: 2**63 + i,
    'beyond float64': lambda i: 2**53 + 2 * i + 1,
}


@pytest.mark.parametrize('make', IDS.values(), ids=IDS)
def test_ids_of_any_kind_join_the_same_objects(make):
    right = joined(truth())
    for content in (
        put('annotations', 'id', make),
        put_id('images', 'image_id', make),
        put_id('categories', 'category_id', make),
    ):
        cleaned = clean_annotations(content, 'a.json').content
        assert joined(cleaned) == right
        ids = [annotation['id'] for annotation in cleaned['annotations']]
        assert len(set(ids)) == 6
        assert all(type(i) is int and 0 < i < 2**63 for i in ids)
        for part in ('images', 'categories'):
            assert all(
                type(entry['id']) is int and abs(entry['id']) < 2**63
                for entry in cleaned[part]
            )


@pytest.mark.parametrize(
    'make', [lambda i: i - 1, lambda i: i % 2 + 1, lambda i: None, bool]
)
def test_annotation_ids_that_no_metric_can_use(make):
    """From 0, unique in an image only, none, and true."""
    cleaned = clean_annotations(put('annotations', 'id', make), 'a.json')
    ids = [annotation['id'] for annotation in cleaned.content['annotations']]
    assert ids == [1, 2, 3, 4, 5, 6]
    assert 'annotation ids' in cleaned.describe('changed')


def test_ids_are_joined_across_types_and_files():
    content = put('annotations', 'image_id', str)
    cleaned = clean_annotations(content, 'a.json')
    assert joined(cleaned.content) == joined(truth())
    assert list(cleaned.changed) == ['values of `image_id` (annotation)']
    # Another file lists the same images in another order.
    first = clean_annotations(put('images', 'id', 'x{}'.format), 'a.json')
    content = put('images', 'id', 'x{}'.format)
    content['images'].reverse()
    second = clean_annotations(content, 'b.json')
    assert first.content['images'] == second.content['images'][::-1]


def test_clean_annotations_are_unchanged():
    cleaned = clean_annotations(truth(), 'a.json', CLASSES)
    assert cleaned.content == truth()
    assert not cleaned.changed
    assert not cleaned.noted


def test_categories_are_brought_into_the_order_of_the_training():
    content = truth()
    content['categories'].reverse()
    cleaned = clean_annotations(copy.deepcopy(content), 'a.json', CLASSES)
    assert [c['name'] for c in cleaned.content['categories']] == ['cat', 'dog']
    assert joined(cleaned.content) == joined(truth())
    # Further categories have no place in it.
    content['categories'].insert(1, dict(id=9, name='fish'))
    cleaned = clean_annotations(content, 'a.json', CLASSES).content
    assert [c['id'] for c in cleaned['categories']] == [1, 2, 9]


@pytest.mark.parametrize(
    'content',
    [
        without('annotations', 'area'),
        put('annotations', 'area', lambda _: None),
        put('annotations', 'area', lambda _: 0),
        without('annotations', 'iscrowd'),
        put('annotations', 'iscrowd', lambda _: None),
        put('annotations', 'iscrowd', lambda _: False),
        put('annotations', 'iscrowd', lambda _: 0.0),
    ],
)
def test_missing_fields_are_added(content):
    cleaned = clean_annotations(content, 'a.json')
    assert joined(cleaned.content) == joined(truth())
    assert cleaned.describe('changed').startswith('6 ')


@pytest.mark.parametrize(
    ('part', 'key', 'value'),
    [
        ('annotations', 'iscrowd', '0'),
        ('annotations', 'iscrowd', 0.5),
        ('annotations', 'iscrowd', 2),
        ('annotations', 'iscrowd', []),
        ('annotations', 'area', '20'),
        ('annotations', 'area', math.nan),
        ('annotations', 'bbox', ['1', '2', '3', '4']),
        ('annotations', 'bbox', [1, 2, 3]),
        ('annotations', 'bbox', []),
        ('annotations', 'bbox', None),
        ('annotations', 'bbox', [math.nan] * 4),
        ('annotations', 'bbox', [1, 2, math.inf, 4]),
        ('annotations', 'image_id', None),
        ('annotations', 'category_id', [1]),
        ('annotations', 'category_id', True),
        ('images', 'id', None),
        ('images', 'id', 7),
        ('images', 'file_name', None),
        ('images', 'width', None),
        ('images', 'height', '10'),
        ('images', 'width', 0),
        ('categories', 'name', 'cat'),
        ('categories', 'name', None),
        ('categories', 'id', 1),
    ],
)
def test_value_that_cannot_be_used_is_named(part, key, value):
    content = put(part, key, lambda _: value)
    with pytest.raises(InputError) as error:
        clean_annotations(content, 'some/a.json')
    message = str(error.value)
    assert message.startswith(f'some/a.json: `{key}` of ')
    assert f'is {value!r}, expected' in message


@pytest.mark.parametrize(
    ('content', 'number'),
    [
        (put('annotations', 'category_id', lambda i: i + 54), 6),
        (put('annotations', 'image_id', lambda i: i if i < 3 else 555), 2),
        (put('annotations', 'bbox', lambda box: [*box[:2], 0.5, 4]), 6),
        (put('annotations', 'bbox', lambda box: [-9, 2, 9, 4]), 6),
        (put('annotations', 'bbox', lambda box: [*box[:2], -3, 4]), 6),
        (put('images', 'file_name', lambda _: 'a.png'), 2),
    ],
)
def test_what_has_no_influence_is_counted(content, number):
    cleaned = clean_annotations(content, 'a.json')
    assert not cleaned.changed
    (values,) = cleaned.noted.values()
    assert len(values) == number


VOC = """<annotation><size><width>9</width><height>9</height></size>{}
</annotation>"""
OBJECT = """<object><name>{name}</name><difficult>{difficult}</difficult>
<bndbox><xmin>{x}</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>
</object>"""


def voc(folder, name='cat', difficult='0', x='1', names='a\nb\n', end=None):
    """Two images, the first of which has an object as given."""
    (folder / 'Annotations').mkdir(exist_ok=True)
    objects = OBJECT.format(name=name, difficult=difficult, x=x)
    text = VOC.format(objects)[:end]
    (folder / 'Annotations/a.xml').write_text(text)
    (folder / 'Annotations/b.xml').write_text(VOC.format(''))
    (folder / 'list.txt').write_text(names)
    return check_voc_list(folder / 'list.txt', folder, CLASSES)


def test_list_of_voc(tmp_path):
    assert voc(tmp_path) == ['a', 'b']
    # Objects of other classes are left out on purpose.
    assert voc(tmp_path, 'horse', '1') == ['a', 'b']


@pytest.mark.parametrize(
    ('change', 'parts'),
    [
        (
            dict(difficult='Unspecified'),
            ['a.xml: `difficult`', "'Unspecified'"],
        ),
        (dict(difficult='1'), ['all 1 objects', 'list.txt', '`difficult`']),
        (dict(name='Cat'), ['a.xml: `name`', "'Cat', expected 'cat'"]),
        (dict(name=' cat'), ['a.xml: `name`', "expected 'cat'"]),
        (dict(x='left'), ['a.xml: `bndbox/xmin`', "'left'"]),
        (dict(x='nan'), ['a.xml: `bndbox/xmin`', "'nan'"]),
        (dict(names='a\n\nb\n'), ["list.txt: line 2 is ''"]),
        (dict(names='a\nb \n'), ["list.txt: line 2 is 'b '"]),
        (dict(names='a\nc\n'), ['c.xml', 'No such file']),
        (dict(end=-20), ['a.xml', 'unclosed token']),
        (dict(end=0), ['a.xml', 'no element found']),
    ],
)
def test_annotations_of_voc_that_cannot_be_used(tmp_path, change, parts):
    with pytest.raises(InputError) as error:
        voc(tmp_path, **change)
    message = str(error.value)
    assert '\n' not in message
    assert not [part for part in parts if part not in message]


def encoded(size=(20, 10), kind='JPEG', **settings):
    noise = np.random.default_rng(0).integers(0, 255, (*size[::-1], 3))
    file = io.BytesIO()
    Image.fromarray(noise.astype(np.uint8)).save(file, kind, **settings)
    return file.getvalue()


@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
def test_images_that_cannot_be_read(kind):
    data = encoded(kind=kind)
    assert image_fault(data) is None
    assert image_fault(b'') == 'the file is empty'
    assert 'runcated' in image_fault(data[: len(data) * 2 // 3])
    assert "b'<!DOCTYPE html>'" in image_fault(b'<!DOCTYPE html><html>404')


class Images:
    """A data set as MMEngine's, of files."""

    def __init__(self, *files):
        self.files = files

    def __len__(self):
        return len(self.files)

    def get_data_info(self, index):
        return dict(img_path=str(self.files[index]))


def test_unreadable_image_explains_an_error(tmp_path):
    good, bad = tmp_path / 'good.jpg', tmp_path / 'bad.jpg'
    good.write_bytes(encoded())
    bad.write_bytes(b'')
    error = TypeError('something else')
    require_readable([Images(good), [1, 2]], error)
    for file in (bad, tmp_path / 'missing.jpg'):
        with pytest.raises(InputError, match=f'{file}: (the|No such)') as told:
            require_readable([Images(good, file)], error)
        assert told.value.__cause__ is error
        # These have another cause, and images take long to read.
        for error_of_network in (
            FloatingPointError('loss is nan'),
            RuntimeError('CUDA out of memory'),
        ):
            require_readable([Images(good, file)], error_of_network)
