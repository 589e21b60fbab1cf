"""Three parts that share no image and have the same classes."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detnas_mm.projects.formats import Box, LabeledImage
from detnas_mm.projects.parts import make_parts
from detnas_mm.utils.errors import InputError


def image(digest, *names, file='a.png'):
    boxes = tuple(Box(name, 0, 0, 9, 9, False) for name in names)
    return LabeledImage(Path(file), digest, (64, 48), boxes, None)


def digests(images):
    return {image.digest for image in images}


@given(st.integers(0, 9), st.permutations(range(100)))
def test_each_class_has_its_share_and_order_and_names_do_not_count(
    seed, order
):
    images = [
        image(f'{i:03}', *['rare'] * (i % 10 == 0), 'usual')
        for i in range(100)
    ]
    parts, _ = make_parts({'all': images}, valid_is='search', seed=seed)
    assert {k: len(v) for k, v in parts.items()} == dict(
        train=60, search=20, test=20
    )
    for name, share in (('search', 2), ('test', 2), ('train', 6)):
        boxes = Counter(b.name for i in parts[name] for b in i.boxes)
        assert abs(boxes['rare'] - share) <= 1
    other = [images[place] for place in order]
    again, _ = make_parts({'all': other}, valid_is='search', seed=seed)
    assert again == parts


def test_copies_stay_together_and_in_the_part_that_judges():
    images = [image(f'{i // 3:03}', 'a', file=f'{i}.png') for i in range(60)]
    parts, _ = make_parts({'all': images}, valid_is='search', seed=0)
    sets = [digests(part) for part in parts.values()]
    assert sum(map(len, sets)) == len(set.union(*sets)) == 20
    splits = {
        'train': [image('x', 'a'), image('y', 'a'), image('z', 'a')],
        'valid': [image('y', 'a'), image('v', 'a')],
        'test': [image('x', 'a')],
    }
    parts, notes = make_parts(splits, valid_is='search', seed=0)
    assert [digests(p) for p in parts.values()] == [{'z'}, {'v', 'y'}, {'x'}]
    assert notes == ['train: 2 images left out that are in another part']


def test_a_split_named_valid_may_be_the_test():
    images = [image(f'{i:03}', 'a') for i in range(20)]
    splits = {'train': images, 'valid': [image('v', 'a')]}
    parts, _ = make_parts(splits, valid_is='test', seed=0)
    assert digests(parts['test']) == {'v'}
    assert len(parts['search']) == 4
    with pytest.raises(InputError, match='leave --valid test out'):
        make_parts(
            {**splits, 'test': splits['valid']}, valid_is='test', seed=0
        )


def test_a_part_without_boxes_is_refused():
    train = [image(digest, 'x') for digest in 'acdef']
    splits = {'train': train, 'valid': [image('b')]}
    with pytest.raises(
        InputError, match='1 images with no box are for search'
    ):
        make_parts(splits, valid_is='search', seed=0)


def test_two_images_are_too_few():
    splits = {'train': [image('a', 'x'), image('b', 'x'), image('b', 'x')]}
    with pytest.raises(InputError, match='2 different images are too few'):
        make_parts(splits, valid_is='search', seed=0)
