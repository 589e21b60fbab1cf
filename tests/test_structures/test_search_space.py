"""Search spaces, and paths as text."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.spaces import (
    ELASTIC,
    FOUR_BLOCKS,
    TWO_BLOCKS,
    spaces,
    spaces_with_path,
)

from detnas_mm.structures import (
    SEARCH_SPACES,
    SHUFFLE_CHOICES,
    BlockPosition,
    SearchSpace,
    get_search_space,
    space_name,
)
from detnas_mm.utils.errors import InputError


def test_spaces_of_the_paper():
    """Table 1; stem widths and the 3.8G space are from the authors' code."""
    spaces = {
        'small': (16, (64, 160, 320, 640), (4, 4, 8, 4)),
        'large': (48, (96, 240, 480, 960), (8, 8, 16, 8)),
        'large_3.8g': (72, (172, 432, 864, 1728), (8, 8, 16, 8)),
    }
    for name, fields in spaces.items():
        assert dataclasses.astuple(SEARCH_SPACES[name])[:3] == fields
        assert SEARCH_SPACES[name].choices == SHUFFLE_CHOICES
    # The digits of published paths mean these blocks.
    assert SHUFFLE_CHOICES == (
        'shuffle_3x3', 'shuffle_5x5', 'shuffle_7x7', 'xception',
    )  # fmt: skip
    # 4 choices for 20 blocks, about 1.0 x 10^12 (Table 1).
    assert SEARCH_SPACES['small'].num_blocks == 20
    assert SEARCH_SPACES['small'].size == 1_099_511_627_776
    assert SEARCH_SPACES['tiny'].num_blocks >= 8


def test_positions_of_blocks():
    assert FOUR_BLOCKS.blocks == (
        BlockPosition(0, 4, 8, 2),
        BlockPosition(0, 8, 8, 1),
        BlockPosition(1, 8, 16, 2),
        BlockPosition(1, 16, 16, 1),
    )
    names = [FOUR_BLOCKS.block_name(index) for index in range(4)]
    assert names == ['1.1', '1.2', '2.1', '2.2']


def test_a_space_of_lists_is_the_same_and_hashable():
    as_lists = SearchSpace(4, [8], [2], list(SHUFFLE_CHOICES))
    assert as_lists == TWO_BLOCKS
    assert hash(as_lists) == hash(TWO_BLOCKS)


@given(spaces_with_path())
def test_parse_reverses_format(space_and_path):
    space, path = space_and_path
    assert space.parse(space.format(path)) == path
    assert space.parse(space.format_stages(path)) == path
    assert len(space.format(path)) == space.num_blocks


def test_spaces_between_stages():
    space = SEARCH_SPACES['small']
    published = '2120 2112 33130031 3132'
    path = space.parse(f'\t{published}\n')
    assert path == tuple(map(int, published.replace(' ', '')))
    assert space.format(path) == '21202112331300313132'
    assert space.format_stages(path) == published


def test_more_than_ten_choices_are_letters():
    space = SearchSpace(4, (8,), (3,), tuple(f'c{i}' for i in range(36)))
    assert space.format((9, 10, 35)) == '9az'
    assert space.parse('9az') == (9, 10, 35)


def test_wrong_texts_are_refused():
    for text, message in (
        ('012', "4 digits.*2/2.*got 3.*'012'"),
        ('01234', "4 digits.*got 5.*'01234'"),
        ('', '4 digits.*got 0'),
        ('0142', "'4'.*block 2.1.*'0123'.*'0142'"),
        ('01a2', "'a'.*block 2.1.*'01a2'"),
        ('01-2', "'-'.*'01-2'"),
        ('012²', "'²'"),
        (2120, "digit.*'0000'.*2120"),
        (None, "digit.*'0000'.*None"),
    ):
        with pytest.raises(ValueError, match=message):
            FOUR_BLOCKS.parse(text)


def test_only_paths_are_formatted():
    for path in ((0, 0, 0), (0, 0, 0, 4), (0, -1, 0, 0)):
        with pytest.raises(ValueError, match='digit'):
            FOUR_BLOCKS.format(path)


def test_random_paths_are_uniform():
    rng = np.random.default_rng(0)
    at_once = np.array(FOUR_BLOCKS.random_paths(rng, 4000))
    single = np.array([FOUR_BLOCKS.random_path(rng) for _ in range(4000)])
    for paths in (at_once, single):
        shares = np.stack([(paths == choice).mean(0) for choice in range(4)])
        # Five standard deviations of a share of 1/4 in 4,000 draws.
        assert np.abs(shares - 0.25).max() < 5 * math.sqrt(0.1875 / 4000)


@given(spaces(max_stages=2, max_blocks=2))
def test_all_paths_are_listed_once(space):
    paths = list(space.all_paths())
    assert len(set(paths)) == len(paths) == space.size
    assert paths == sorted(paths)
    assert all(space.validate(path) == path for path in paths)


def test_choices_exist_where_their_stride_is():
    assert ELASTIC.choice_names == (
        'shuffle_3x3', 'shuffle_5x5(expansion=2.5)', 'skip',
    )  # fmt: skip
    assert ELASTIC.allowed_choices == (
        (0, 1), (0, 1, 2), (0, 1), (0, 1, 2), (0, 1, 2),
    )  # fmt: skip
    assert ELASTIC.size == 2 * 3 * 2 * 3 * 3
    assert ELASTIC.parse('02022') == (0, 2, 0, 2, 2)
    with pytest.raises(InputError, match="'2'.*block 2.1.*'01'.*'02222'"):
        ELASTIC.parse('02222')
    only_down = SearchSpace(4, (8,), (2,), ['a', dict(type='b', stride=2)])
    assert only_down.allowed_choices == ((0, 1), (0,))


def test_a_space_is_its_fields_as_plain_data():
    fields = ELASTIC.to_dict()
    assert fields['choices'] == [
        'shuffle_3x3', dict(type='shuffle_5x5', expansion=2.5), 'skip',
    ]  # fmt: skip
    assert get_search_space(json.loads(json.dumps(fields))) == ELASTIC
    fields['choices'][2] = dict(type='skip', stride=1)  # as it is by default
    assert get_search_space(fields) == ELASTIC


@given(spaces(max_stages=2, max_blocks=2))
def test_numbers_give_every_path_once(space):
    digits = space.digits_at(np.arange(space.size))
    assert sorted(map(tuple, digits.tolist())) == list(space.all_paths())


@given(spaces(), st.floats(1e-4, 1e3), st.integers(0, 9))
def test_drawn_paths_are_paths(space, concentration, seed):
    rng = np.random.default_rng(seed)
    for path in (
        *space.random_paths(rng, 20),
        *space.random_paths(rng, 20, concentration),
        *space.fair_paths(rng),
    ):
        assert space.validate(path) == path


def test_fair_paths_take_each_choice_once():
    rng = np.random.default_rng(0)
    for block in zip(*FOUR_BLOCKS.fair_paths(rng), strict=True):
        assert sorted(block) == [0, 1, 2, 3]
    for block, allowed in zip(
        zip(*ELASTIC.fair_paths(rng), strict=True),
        ELASTIC.allowed_choices,
        strict=True,
    ):
        assert set(block) == set(allowed)


def test_stages_of_uneven_paths_repeat_a_choice():
    """With a Dirichlet of 4 equal parameters a, two draws agree with
    probability (a + 1) / (4 a + 1); choices stay equally frequent."""
    space = SEARCH_SPACES['small']
    for a in (0.1, 0.4, 10.0):
        rng = np.random.default_rng(0)
        paths = np.array(space.random_paths(rng, 4000, a))
        agree = (paths[:, 8] == paths[:, 15]).mean()  # both in stage 3
        assert agree == pytest.approx((a + 1) / (4 * a + 1), abs=0.04)
        # Stages are drawn independently.
        assert (paths[:, 0] == paths[:, 8]).mean() == pytest.approx(
            0.25, abs=0.04
        )
        shares = np.bincount(paths[:, 8], minlength=4) / 4000
        assert shares == pytest.approx(np.full(4, 0.25), abs=0.04)


def test_wrong_choices_are_refused():
    for choices, message in (
        ([dict(expansion=2)], '`type`.*expansion'),
        ([dict(type='skip', stride=3)], '1 or 2'),
        ([dict(type='mine', kernels=[3, 5])], 'numbers or text.*kernels'),
        (['skip'], 'each block must have a choice'),
    ):
        with pytest.raises(InputError, match=message):
            SearchSpace(4, (8,), (2,), choices)
    for concentration in (0, -1, math.nan, math.inf):
        with pytest.raises(InputError, match='`concentration`'):
            ELASTIC.random_path(np.random.default_rng(0), concentration)


def test_impossible_spaces_are_refused():
    for fields, message in (
        ((16, (32, 64), (2,)), r'\(32, 64\)'),
        ((16, (), ()), 'at least 1'),
        ((0, (32,), (2,)), 'at least 1'),
        ((16, (32,), (0,)), 'at least 1'),
        ((16, (32,), (2,), ()), '`choices`'),
        ((16, (32,), (2,), ('block',) * 37), '1 to 36'),
        ((16, (33,), (2,)), 'got 33 after 16'),
        ((16, (32, 32), (2, 2)), 'got 32 after 32'),
    ):
        with pytest.raises(ValueError, match=message):
            SearchSpace(*fields)


@given(spaces())
def test_a_space_is_found_by_its_fields(space):
    assert get_search_space(space.to_dict()) == space
    assert get_search_space(space) is space


def test_a_space_is_found_by_its_name():
    for name, space in SEARCH_SPACES.items():
        assert get_search_space(name) is space
        assert space_name(space) == name
    assert space_name(TWO_BLOCKS) is None


def test_unknown_spaces_are_refused():
    for unknown, part in (
        ('smal', "'smal'"),
        ({'stem_channels': 4}, 'stage_channels'),
        ({**TWO_BLOCKS.to_dict(), 'width': 1}, "'width': 1"),
    ):
        with pytest.raises(ValueError, match=f'`search_space`.*{part}'):
            get_search_space(unknown)
