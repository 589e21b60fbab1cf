"""Which network a ``path`` setting means."""

import json
from pathlib import Path

import pytest
from kit.spaces import TWO_BLOCKS

from detnas_mm.models import (
    PUBLISHED_PATHS,
    Architecture,
    DetNASNet,
    resolve_architecture,
)
from detnas_mm.structures import SEARCH_SPACES
from detnas_mm.utils.errors import InputError

# Published by the authors.
PUBLISHED = {
    'detnas_fpn_300m': ('small', '2120 2112 33130031 3132'),
    'detnas_retinanet_300m': ('small', '2311 3213 31113320 3333'),
    'detnasnet_1.3g': (
        'large',
        '00312102 03123320 2113202221310333 13333333',
    ),
    'detnasnet_3.8g': (
        'large_3.8g',
        '00312102 03123320 2113202221310333 13333333',
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


def test_published_names():
    assert set(PUBLISHED_PATHS) == set(PUBLISHED)
    for name, (space, digits) in PUBLISHED.items():
        space = SEARCH_SPACES[space]
        expected = Architecture(space, space.parse(digits), 'grouped')
        assert resolve_architecture(name) == expected
        # The space may be given as well.
        assert resolve_architecture(name, space) == expected
    net = DetNASNet('detnas_fpn_300m')
    assert net.path == SEARCH_SPACES['small'].parse(digits_of(net))
    assert net.out_channels == SEARCH_SPACES['small'].stage_channels


def digits_of(net):
    """Choices of the built blocks, by kernel and kind."""
    kernels = {3: '0', 5: '1', 7: '2'}
    return ''.join(
        '3'
        if block.main[0].groups > 1
        else kernels[block.main[3].kernel_size[0]]
        for block in net.blocks
    )


@pytest.mark.parametrize('path', ['1 3', '13', (1, 3), [1, 3]])
def test_digits_with_their_space(path):
    net = two_blocks(path, TWO_BLOCKS)
    assert net.path == (1, 3)
    assert net.search_space == TWO_BLOCKS
    assert net.shuffle == 'grouped'
    assert digits_of(net) == '13'


def test_number_is_read_as_digits():
    """As ``--cfg-options model.backbone.path=02`` gives it."""
    assert resolve_architecture(2, TWO_BLOCKS).path == (0, 2)


def test_result_of_a_search(tmp_path):
    file = write_best(tmp_path, fitness=0.5)
    net = two_blocks(file)
    assert net.path == (1, 3)
    assert net.search_space == TWO_BLOCKS
    assert net.shuffle == 'interleaved'
    assert {block.shuffle for block in net.blocks} == {'interleaved'}
    assert two_blocks(file, shuffle='grouped').shuffle == 'grouped'
    assert two_blocks(Path(file), TWO_BLOCKS).path == (1, 3)


def test_wrong_and_missing_results_are_refused(tmp_path):
    file = tmp_path / 'best.json'
    with pytest.raises(InputError, match=r'best.json; run tools/search.py'):
        resolve_architecture(str(file))
    for content, reason in (
        ('', 'not the best.json'),
        ('{"path": "13"}', r"KeyError\('search_space'\)"),
        ('[1]', 'not the best.json'),
        ('"text"', 'not the best.json'),
    ):
        file.write_text(content)
        with pytest.raises(InputError, match=reason) as error:
            resolve_architecture(str(file))
        assert str(file) in str(error.value)
    with pytest.raises(InputError, match='`search_space` is'):
        resolve_architecture(write_best(tmp_path), 'small')
    for path in ('14', '133'):
        with pytest.raises(InputError, match='^(digit|a path)'):
            resolve_architecture(write_best(tmp_path, path=path))


def test_wrong_path_is_refused():
    for path, space, message in (
        ('detnas_fpn', None, 'best.json.*detnas_fpn_300m.*no search space'),
        ('0123', None, "got '0123' and no search space"),
        ('', None, 'no search space'),
        ('detnasnet_1.3g', 'small', r'\(96, 240, .* is .*\(64, 160, '),
        ('14', TWO_BLOCKS, "'14'"),
        ('best.jso', TWO_BLOCKS, "must be digits.*got 'best.jso'"),
        (123, TWO_BLOCKS, '123'),
        (2.5, TWO_BLOCKS, 'digits of a path as text.*2.5'),
    ):
        with pytest.raises(InputError, match=message):
            resolve_architecture(path, space)
