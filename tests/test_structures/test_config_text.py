"""Lines of a config: valid Python with the values that were given."""

from hypothesis import given
from hypothesis import strategies as st
from kit.spaces import spaces
from mmengine.config import Config

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


@given(spaces(), st.none() | st.dictionaries(KEYS, DATA))
def test_backbone_is_equal_in_value(space, norm_cfg):
    supernet = SupernetSettings(space=space, norm_cfg=norm_cfg)
    path = (0,) * space.num_blocks
    backbone = eval(backbone_text(supernet, path), {})
    assert space.parse(backbone.pop('path')) == path
    expected = dict(
        _delete_=True,
        type='detnas_mm.DetNASNet',
        search_space=space.to_dict(),
        shuffle='grouped',
    )
    if norm_cfg is not None:
        expected['norm_cfg'] = norm_cfg
    assert backbone == expected


def test_mmengine_reads_the_lines_back(tmp_path):
    space = SearchSpace(
        16, (24, 48, 96), (1, 2, 3), ('shuffle_3x3', 'inverted_3x3')
    )
    supernet = SupernetSettings(
        space=space,
        inputs=dict(mean=[1 / 3] * 3, std=[2 / 3] * 3, bgr_to_rgb=True),
        norm_cfg=dict(eps=1e-5, num_groups=32, type='GN'),
        imports=['json', 'csv'],
    )
    file = tmp_path / 'config.py'
    file.write_text(model_text(supernet, (0, 1, 1, 0, 0, 1)))
    config = Config.fromfile(file).to_dict()
    imports = dict(imports=['json', 'csv'], allow_failed_imports=False)
    assert config.pop('custom_imports') == imports
    assert config.pop('model') == dict(
        data_preprocessor=supernet.inputs,
        backbone=dict(
            _delete_=True,
            type='detnas_mm.DetNASNet',
            search_space=space.to_dict(),
            path='0 11 001',
            shuffle='grouped',
            norm_cfg=supernet.norm_cfg,
        ),
        neck=dict(in_channels=[24, 48, 96]),
    )
    assert not config
    assert imports_text([]) == ''
