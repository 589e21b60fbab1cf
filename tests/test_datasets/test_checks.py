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
    image_fault,
    require_readable,
)
from detnas_mm.structures.coco_annotation import CleanAnnotations
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
        cleaned = CleanAnnotations(content, 'a.json').content
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
    cleaned = CleanAnnotations(put('annotations', 'id', make), 'a.json')
    ids = [annotation['id'] for annotation in cleaned.content['annotations']]
    assert ids == [1, 2, 3, 4, 5, 6]
    assert 'annotation ids' in cleaned.describe('changed')


def test_ids_are_joined_across_types_and_files():
    content = put('annotations', 'image_id', str)
    cleaned = CleanAnnotations(content, 'a.json')
    assert joined(cleaned.content) == joined(truth())
    assert list(cleaned.changed) == ['values of `image_id` (annotation)']
    # Another file lists the same images in another order.
    first = CleanAnnotations(put('images', 'id', 'x{}'.format), 'a.json')
    content = put('images', 'id', 'x{}'.format)
    content['images'].reverse()
    second = CleanAnnotations(content, 'b.json')
    assert first.content['images'] == second.content['images'][::-1]


def test_clean_annotations_are_unchanged():
    cleaned = CleanAnnotations(truth(), 'a.json', CLASSES)
    assert cleaned.content == truth()
    assert not cleaned.changed
    assert not cleaned.noted


def test_categories_are_brought_into_the_order_of_the_training():
    content = truth()
    content['categories'].reverse()
    cleaned = CleanAnnotations(copy.deepcopy(content), 'a.json', CLASSES)
    assert [c['name'] for c in cleaned.content['categories']] == ['cat', 'dog']
    assert joined(cleaned.content) == joined(truth())
    # Further categories have no place in it.
    content['categories'].insert(1, dict(id=9, name='fish'))
    cleaned = CleanAnnotations(content, 'a.json', CLASSES).content
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
    cleaned = CleanAnnotations(content, 'a.json')
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
    message = str(CleanAnnotations(content, 'some/a.json').refused[0])
    assert message.startswith('some/a.json: ')
    assert f': `{key}` is {value!r}, expected' in message


@pytest.mark.parametrize(
    ('content', 'number'),
    [
        (put('annotations', 'category_id', lambda i: i + 54), 6),
        (put('annotations', 'image_id', lambda i: i if i < 3 else 555), 2),
        (put('annotations', 'bbox', lambda box: [*box[:2], 0.5, 4]), 6),
        (put('annotations', 'bbox', lambda box: [-9, 2, 9, 4]), 6),
        (put('annotations', 'bbox', lambda box: [*box[:2], -3, 4]), 6),
        (put('images', 'file_name', lambda _: 'a.png'), 2),
        (put('images', 'file_name', lambda n: n.replace('2', './1')), 1),
        (put('annotations', 'bbox', lambda box: [*box[:2], 40, 40]), 6),
        (put('annotations', 'area', lambda _: 1e11), 6),
        (put('annotations', 'ignore', lambda n: n % 2), 3),
    ],
)
def test_what_looks_wrong_is_counted(content, number):
    cleaned = CleanAnnotations(content, 'a.json')
    assert not cleaned.changed
    (values,) = cleaned.noted.values()
    assert len(values) == number


def test_box_that_is_there_twice_is_told():
    content = truth()
    content['annotations'].append(content['annotations'][0] | dict(id=99))
    (values,) = CleanAnnotations(content, 'a.json').noted.values()
    assert values == [[1, 0, 4, 5]]


@pytest.mark.parametrize(
    'content',
    [
        put('annotations', 'category_id', lambda i: i + 54),
        put('annotations', 'bbox', lambda _: [0.2, 0.3, 0.5, 0.9]),
        put('annotations', 'iscrowd', lambda _: 1),
    ],
)
def test_file_of_which_nothing_counts_is_refused(content):
    (problem,) = CleanAnnotations(content, 'a.json').refused
    assert str(problem).startswith('a.json: none of its 6 annotations counts')


def test_all_that_is_refused_is_listed_and_left_out():
    content = truth()
    content['images'][2]['width'] = 0
    content['annotations'][1]['bbox'] = None
    content['annotations'][2]['area'] = 'x'
    cleaned = CleanAnnotations(content, 'a.json')
    assert [problem.entry for problem in cleaned.refused] == [
        'a.json: image 3',
        'a.json: annotation 2',
        'a.json: annotation 3',
    ]
    assert [i['id'] for i in cleaned.content['images']] == [1, 2]
    ids = [annotation['id'] for annotation in cleaned.content['annotations']]
    assert ids == [1, 4, 5, 6]


VOC = """<annotation><size><width>{size}</width><height>9</height></size>
{objects}</annotation>"""
OBJECT = """<object><name>{name}</name><difficult>{difficult}</difficult>
<bndbox><xmin>{x}</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>
</object>"""


def voc(
    folder,
    name='cat',
    difficult='0',
    x='1',
    names=b'a\nb\n',
    size='9',
    head='',
    end=None,
    copies=1,
):
    """Two images, the first of which has an object as given."""
    objects = OBJECT.format(name=name, difficult=difficult, x=x) * copies
    text = head + VOC.format(size=size, objects=objects)[:end]
    (folder / 'a.xml').write_text(text)
    (folder / 'b.xml').write_text(VOC.format(size='9', objects=''))
    (folder / 'list.txt').write_bytes(names)
    return check_voc_list(folder / 'list.txt', folder, CLASSES)


@pytest.mark.parametrize('names', [b'a\nb', b'a\r\nb\r\n', b'a\nb\n'])
def test_list_of_voc(tmp_path, names):
    assert voc(tmp_path, names=names) == (['a', 'b'], [], [])


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (dict(name='horse'), "1 objects of none of the `classes` (such as 'h"),
        (dict(x='-3'), "1 boxes that reach out of the image (such as 'cat'"),
        (dict(x='5'), "1 boxes of which no pixel is in the image (such as '"),
    ],
)
def test_odd_objects_of_voc_are_counted(tmp_path, change, text):
    *_, (noted,) = voc(tmp_path, **change)
    assert f'{tmp_path}/list.txt: left as it is: {text}' in str(noted)
    assert str(noted).endswith(' in a)')


def test_objects_of_voc_that_are_there_twice_are_counted(tmp_path):
    _, problems, (noted,) = voc(tmp_path, copies=2)
    assert not problems
    assert "1 boxes that are there twice (such as 'cat' in a)" in str(noted)


@pytest.mark.parametrize(
    ('change', 'parts'),
    [
        (
            dict(difficult='Unspecified'),
            ['a.xml: `difficult`', "'Unspecified'"],
        ),
        (dict(difficult=''), ['a.xml: `difficult`', "is ''"]),
        (dict(name='Cat'), ['a.xml: `name`', "'Cat', expected 'cat'"]),
        (dict(name=' cat'), ['a.xml: `name`', "expected 'cat'"]),
        (dict(x='left'), ['a.xml: `bndbox/xmin`', "'left'"]),
        (dict(x='nan'), ['a.xml: `bndbox/xmin`', "'nan'"]),
        (
            dict(x='7'),
            ['a.xml: `bndbox/xmax`', "'5', expected a number from 7"],
        ),
        # With a filter of small images they would not be used to train.
        (dict(size='0'), ['a.xml: `size/width`', "is '0'"]),
        (dict(names=b'a\n\nb\n'), ["list.txt: line 2 is ''"]),
        (dict(names=b'a\nb\n\n'), ["list.txt: line 3 is ''"]),
        (dict(names=b'a\nb \n'), ["list.txt: line 2 is 'b '"]),
        (dict(names=b'a\nb\na\n'), ["list.txt: line 3 is 'a'", 'another']),
        (dict(names=b'a\nc\n'), ['c.xml', 'No such file']),
        (dict(names=b'a\n\xb0\n'), ['list.txt', 'UTF-8']),
        (dict(end=-20), ['a.xml', 'unclosed token']),
        (dict(end=0), ['a.xml', 'no element found']),
        (dict(head='<?xml version="1.0" encoding="gbk"?>'), ['a.xml', 'byte']),
        (
            dict(head='<?xml version="1.0" encoding="x"?>'),
            ['a.xml', 'encoding'],
        ),
    ],
)
def test_annotations_of_voc_that_cannot_be_used(tmp_path, change, parts):
    names, problems, _ = voc(tmp_path, **change)
    message = str(problems[0])
    assert '\n' not in message
    assert not [part for part in parts if part not in message]
    # The others remain.
    assert set(names) < {'a', 'b'} or change.get('names')


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (dict(difficult='1'), 'all 1 objects of its images are `difficult`'),
        (dict(name='horse'), 'no object of its images is of one of the'),
    ],
)
def test_list_of_voc_of_which_nothing_counts(tmp_path, change, text):
    names, (problem,), _ = voc(tmp_path, **change)
    assert names == ['a', 'b']
    assert str(problem).startswith(f'{tmp_path}/list.txt: {text}')


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
    # mmdet reads images with OpenCV, not with Pillow.
    assert image_fault(encoded(kind='TGA')).endswith('the format TGA')


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
