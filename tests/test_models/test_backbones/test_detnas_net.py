"""Which network a searched backbone is."""

import json

import pytest
from kit.counting import count_params
from kit.models import all_stages
from kit.spaces import TWO_BLOCKS
from torch import nn

from detnas_mm.models import (
    PUBLISHED_PATHS,
    Architecture,
    DetNASNet,
    resolve_architecture,
)
from detnas_mm.structures import SEARCH_SPACES

# Published by the authors; the params are counted on their networks.
PUBLISHED = {
    'detnas_fpn_300m': ('small', '2120 2112 33130031 3132', 1_849_680),
    'detnas_retinanet_300m': ('small', '2311 3213 31113320 3333', 2_041_888),
    'detnasnet_1.3g': (
        'large',
        '00312102 03123320 2113202221310333 13333333',
        8_415_216,
    ),
    'detnasnet_3.8g': (
        'large_3.8g',
        '00312102 03123320 2113202221310333 13333333',
        26_724_428,
    ),
}


def write_best(folder, **changes):
    file = folder / 'best.json'
    result = dict(
        search_space=TWO_BLOCKS.to_dict(), path='13', shuffle='interleaved'
    )
    file.write_text(json.dumps(result | changes))
    return str(file)


def two_blocks(path, space=None, **settings):
    return DetNASNet(path, space, out_indices=[0], **settings)


def test_all_published_names_are_known():
    assert set(PUBLISHED_PATHS) == set(PUBLISHED)


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_names(name):
    space, digits, params = PUBLISHED[name]
    space = SEARCH_SPACES[space]
    expected = Architecture(space, space.parse(digits), 'grouped')
    assert resolve_architecture(name) == expected
    # The space may be given as well.
    assert resolve_architecture(name, space) == expected
    net = DetNASNet(name, init_cfg=None)
    assert net.path == space.parse(digits)
    assert count_params(net) == params


def test_published_name_of_another_space():
    with pytest.raises(ValueError, match='detnasnet_1.3g is a path of') as e:
        resolve_architecture('detnasnet_1.3g', 'small')
    assert '(96, 240, 480, 960)' in str(e.value)
    assert '(64, 160, 320, 640)' in str(e.value)


@pytest.mark.parametrize('path', ['1 3', '13', (1, 3), [1, 3]])
def test_digits_with_their_space(path):
    net = two_blocks(path, TWO_BLOCKS)
    assert net.path == (1, 3)
    assert net.search_space == TWO_BLOCKS
    assert net.shuffle == 'grouped'
    kernels = [block.main[3].kernel_size for block in net.blocks[:1]]
    assert kernels == [(5, 5)]
    # Xception: a depthwise convolution comes first.
    assert net.blocks[1].main[0].groups == 4
    assert len(net.blocks) == 2
    assert all(isinstance(block.main, nn.Module) for block in net.blocks)


def test_result_of_a_search(tmp_path):
    file = write_best(tmp_path, fitness=0.5)
    net = two_blocks(file)
    assert net.path == (1, 3)
    assert net.search_space == TWO_BLOCKS
    assert net.shuffle == 'interleaved'
    assert {block.shuffle for block in net.blocks} == {'interleaved'}
    assert two_blocks(file, shuffle='grouped').shuffle == 'grouped'
    assert two_blocks(file, TWO_BLOCKS).path == (1, 3)


def test_result_of_another_space(tmp_path):
    file = write_best(tmp_path)
    with pytest.raises(ValueError, match='`search_space` is'):
        two_blocks(file, 'small')


@pytest.mark.parametrize(
    ('content', 'told'),
    [
        ('', 'not the best.json'),
        ('{"path": "13"}', "KeyError('search_space')"),
        ('[1]', 'not the best.json'),
        ('"text"', 'not the best.json'),
    ],
)
def test_file_that_is_no_result_is_named(tmp_path, content, told):
    file = tmp_path / 'best.json'
    file.write_text(content)
    with pytest.raises(ValueError, match='best.json') as error:
        resolve_architecture(str(file))
    assert str(file) in str(error.value)
    assert told in str(error.value)


@pytest.mark.parametrize('changes', [dict(path='14'), dict(path='133')])
def test_result_with_an_impossible_path(tmp_path, changes):
    with pytest.raises(ValueError, match='digit'):
        resolve_architecture(write_best(tmp_path, **changes))


def test_missing_result_is_named(tmp_path):
    file = str(tmp_path / 'best.json')
    with pytest.raises(ValueError, match='tools/search.py') as error:
        resolve_architecture(file)
    assert file in str(error.value)


@pytest.mark.parametrize('path', ['detnas_fpn', '0123', ''])
def test_path_without_space_is_explained(path):
    with pytest.raises(ValueError, match='no search space') as error:
        resolve_architecture(path)
    for part in (repr(path), 'best.json', 'detnas_fpn_300m'):
        assert part in str(error.value)


def test_number_is_read_as_digits():
    """What `--cfg-options model.backbone.path=02` gives."""
    assert resolve_architecture(2, TWO_BLOCKS).path == (0, 2)
    with pytest.raises(ValueError, match='123'):
        resolve_architecture(123, TWO_BLOCKS)


def test_what_is_no_path_is_explained():
    with pytest.raises(ValueError, match='digits of a path as text.*2.5'):
        resolve_architecture(2.5, TWO_BLOCKS)


def test_wrong_digits_are_named():
    with pytest.raises(ValueError, match="'14'"):
        two_blocks('14', TWO_BLOCKS)


def test_out_channels_are_known_before_anything_runs():
    net = DetNASNet('detnas_fpn_300m', out_indices=[1, 3])
    assert net.out_channels == (160, 640)
    assert all_stages('small') == (0, 1, 2, 3)
    assert DetNASNet('detnas_fpn_300m').out_channels == (64, 160, 320, 640)
