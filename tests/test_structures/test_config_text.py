"""Lines of a config: valid, equal in value, and no longer than others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.records import candidate
from kit.results import results_of
from kit.spaces import spaces

from detnas_mm.structures import SearchSpace
from detnas_mm.structures.config_text import (
    SupernetSettings,
    backbone_text,
    imports_text,
    model_text,
)

KEYS = st.text('abc_', min_size=1) | st.sampled_from(['class', 'a b', '1', ''])
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=30)
DATA = st.recursive(
    LEAVES, lambda part: st.lists(part) | st.dictionaries(KEYS, part)
)
OWN_SPACE = SearchSpace(
    16,
    (24, 48, 96, 192),
    (1, 2, 3, 2),
    ('shuffle_3x3', 'xception', 'inverted_3x3', 'inverted_5x5'),
)


def value_of(text):
    return eval(text, {})


@given(spaces(), st.none() | st.dictionaries(KEYS, DATA))
def test_backbone_is_equal_in_value(space, norm_cfg):
    supernet = SupernetSettings(space=space, norm_cfg=norm_cfg)
    path = (0,) * space.num_blocks
    backbone = value_of(backbone_text(supernet, path))
    assert backbone.pop('_delete_') is True
    assert backbone.pop('search_space') == space.to_dict()
    assert backbone.pop('type') == 'detnas_mm.DetNASNet'
    assert space.parse(backbone.pop('path')) == path
    assert backbone.pop('shuffle') == 'grouped'
    assert backbone == ({} if norm_cfg is None else {'norm_cfg': norm_cfg})


@pytest.mark.parametrize('count', [1, 4, 20])
def test_lines_are_short(tmp_path, count):
    space = SearchSpace(
        16,
        tuple(range(1024, 1024 + 8 * count, 8)),
        (1,) * count,
        tuple(f'a_block_with_a_rather_long_name_{i}' for i in range(4)),
    )
    supernet = SupernetSettings(
        space=space,
        inputs=dict(mean=[1 / 3] * 3, std=[2 / 3] * 3, bgr_to_rgb=True),
        norm_cfg=dict(type='GroupNormWithALongName', num_groups=32, eps=1e-5),
        imports=['a_module_of_own_blocks', 'another_module_of_own_blocks'],
    )
    path = (0,) * count
    text = model_text(supernet, path)
    assert max(map(len, text.splitlines())) <= 79
    scope = {}
    exec(text, scope)
    assert scope['model']['data_preprocessor'] == supernet.inputs
    assert scope['model']['neck'] == {'in_channels': [*space.stage_channels]}
    assert scope['custom_imports']['imports'] == supernet.imports


def test_own_space_is_written_field_by_field(tmp_path):
    results = results_of(tmp_path, space=OWN_SPACE)
    results.write_best(candidate(0, path='32011310'))
    lines = (tmp_path / 'best_backbone.py').read_text().splitlines()
    assert max(map(len, lines)) <= 79
    start = lines.index('    search_space=dict(')
    assert lines[start + 1 : start + 4] == [
        '        stem_channels=16,',
        '        stage_channels=[24, 48, 96, 192],',
        '        stage_blocks=[1, 2, 3, 2],',
    ]


def test_no_imports_are_no_lines():
    assert imports_text([]) == ''
