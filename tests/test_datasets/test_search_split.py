"""Search splits: what is held out, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detnas_mm.datasets.search_split import (
    hold_out,
    require_disjoint,
    write_split,
)

IMAGES = st.sets(st.integers(0, 10**6), min_size=2, max_size=40)


@given(IMAGES, st.data())
def test_holds_out_so_many_of_the_images(images, data):
    count = data.draw(st.integers(1, len(images) - 1))
    chosen = hold_out(images, count, seed=0)
    assert len(chosen) == count
    assert chosen < images


@given(IMAGES, st.integers(0, 5))
def test_depends_on_images_and_seed_alone(images, seed):
    ordered = sorted(images)
    forwards = hold_out(ordered, 1, seed)
    assert forwards == hold_out(reversed(ordered), 1, seed)


def test_every_image_is_held_out_as_often():
    """300 draws of 2 of 4 images: each is expected 150 times."""
    counts = dict.fromkeys('abcd', 0)
    for seed in range(300):
        for image in hold_out('abcd', 2, seed):
            counts[image] += 1
    # Five standard deviations of a binomial distribution.
    assert all(
        abs(count - 150) < 5 * (300 / 4) ** 0.5 for count in counts.values()
    )


@pytest.mark.parametrize('count', [0, -1, 3, 4])
def test_refuses_to_hold_out_none_or_all(count):
    with pytest.raises(ValueError, match=f'must be 1 to 2.*got {count}'):
        hold_out('abc', count, seed=0)


def test_refuses_an_image_that_is_listed_twice():
    with pytest.raises(ValueError, match='image b is listed twice'):
        hold_out('abcb', 1, seed=0)


def test_splits_may_not_share_an_image():
    require_disjoint(dict(train='ab', search='c', test='de'))
    with pytest.raises(
        ValueError, match='train and test share 2 images, such as a'
    ):
        require_disjoint(dict(train='abx', search='c', test='dab'))


def test_a_split_is_not_replaced_by_another(tmp_path):
    file = tmp_path / 'split.txt'
    write_split(file, 'one\n')
    write_split(file, 'one\n')
    with pytest.raises(FileExistsError, match='another split'):
        write_split(file, 'two\n')
    assert file.read_text() == 'one\n'
