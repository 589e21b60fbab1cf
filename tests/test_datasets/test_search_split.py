"""Search splits."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detnas_mm.datasets.search_split import (
    hold_out,
    require_disjoint,
    write_split,
)
from detnas_mm.utils.errors import InputError

IMAGES = st.sets(st.integers(0, 10**6), min_size=2, max_size=40)


@given(IMAGES, st.integers(0, 5), st.data())
def test_split_depends_on_images_and_seed_alone(images, seed, data):
    count = data.draw(st.integers(1, len(images) - 1))
    ordered = sorted(images)
    chosen = hold_out(ordered, count, seed)
    assert len(chosen) == count
    assert chosen < images
    assert hold_out(reversed(ordered), count, seed) == chosen


def test_images_are_held_out_with_equal_probability():
    """300 draws of 2 of 4 images: each is expected 150 times."""
    counts = Counter(
        image for seed in range(300) for image in hold_out('abcd', 2, seed)
    )
    # Five standard deviations of a binomial distribution.
    for image in 'abcd':
        assert abs(counts[image] - 150) < 5 * (300 / 4) ** 0.5


def test_impossible_splits_are_refused():
    for images, count, message in (
        ('abc', 0, 'must be 1 to 2.*got 0'),
        ('abc', 3, 'must be 1 to 2.*got 3'),
        ('abcb', 1, 'image b is listed twice'),
    ):
        with pytest.raises(ValueError, match=message):
            hold_out(images, count, seed=0)


def test_splits_must_not_share_an_image():
    require_disjoint(dict(train='ab', search='c', test='de'))
    with pytest.raises(
        ValueError, match='train and test share 2 images, such as a'
    ):
        require_disjoint(dict(train='abx', search='c', test='dab'))


def test_a_split_is_not_replaced_by_another(tmp_path):
    file = tmp_path / 'split.txt'
    write_split(file, 'one\n')
    write_split(file, 'one\n')
    with pytest.raises(InputError, match='another split'):
        write_split(file, 'two\n')
    assert file.read_text() == 'one\n'
