"""MACs and parameters, against the authors' numbers and built networks."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from kit.counting import count_macs, count_params
from kit.spaces import TWO_BLOCKS, spaces_with_path

from detnas_mm.cost import backbone_macs, backbone_params, cost_table
from detnas_mm.models import DetNASNet, DetNASSupernet
from detnas_mm.structures import SEARCH_SPACES, SearchSpace
from detnas_mm.utils.errors import InputError

TINY = SEARCH_SPACES['tiny']
SIZES = st.tuples(st.integers(1, 70), st.integers(1, 70))
# Counted on the networks of the authors' code at 224 x 224: space, path,
# MACs of the backbone, MACs with head and 1000 classes, params.
AUTHORS = {
    'all 0': ('small', '0' * 20, 262_705_856, 295_842_496, 1_473_488),
    'all 3': ('small', '3' * 20, 325_689_280, 358_825_920, 2_189_424),
    'FPN-300M': (
        'small',
        '2120 2112 33130031 3132',
        288_082_368,
        321_219_008,
        1_849_680,
    ),
    'RetinaNet-300M': (
        'small',
        '2311 3213 31113320 3333',
        291_205_824,
        324_342_464,
        2_041_888,
    ),
    'DetNASNet 1.3G': (
        'large',
        '00312102 03123320 2113202221310333 13333333',
        1_269_181_536,
        1_318_374_496,
        8_415_216,
    ),
    'DetNASNet 3.8G': (
        'large_3.8g',
        '00312102 03123320 2113202221310333 13333333',
        3_937_832_864,
        None,
        26_724_428,
    ),
}


def built(space, path):
    """The network on the meta device: shapes without numbers."""
    with torch.device('meta'):
        return DetNASNet(
            path, space, out_indices=[len(space.stage_blocks) - 1]
        ).eval()


def counted_macs(net, size):
    image = torch.empty(1, 3, *size, device='meta')
    return count_macs(net, lambda: net(image))


def head_macs(space):
    """1x1 convolution to 1024 channels at 7x7, and 1000 classes."""
    return space.stage_channels[-1] * 1024 * 7 * 7 + 1024 * 1000


@pytest.mark.parametrize('name', AUTHORS)
def test_networks_of_the_authors(name):
    space, digits, macs, with_head, params = AUTHORS[name]
    space = SEARCH_SPACES[space]
    path = space.parse(digits)
    assert backbone_macs(space, path) == macs
    assert backbone_params(space, path) == params
    if with_head is not None:
        assert macs + head_macs(space) == with_head
    net = built(space, path)
    assert count_params(net) == params
    assert counted_macs(net, (224, 224)) == macs


@pytest.mark.parametrize(
    # Counted on the supernets of the authors' code.
    ('name', 'params'),
    [('small', 6_808_256), ('large', 28_642_008)],
)
def test_supernets_of_the_authors(name, params):
    with torch.device('meta'):
        net = DetNASSupernet(name)
    assert count_params(net) == params
    table = cost_table(SEARCH_SPACES[name])
    assert params == table.stem.params + sum(
        cost.params for row in table.blocks for cost in row
    )


@given(spaces_with_path(), SIZES)
@example((TINY, TINY.parse('0123012301')), (97, 64))
def test_table_equals_a_count_on_the_built_network(space_and_path, size):
    space, path = space_and_path
    net = built(space, path)
    assert backbone_macs(space, path, size) == counted_macs(net, size)
    assert backbone_params(space, path) == count_params(net)


def test_share_of_uniform_paths_up_to_300m():
    # 68.9 % count the backbone alone, 1.2 % with the head: measured with
    # the authors' code. Five standard deviations of 20,000 draws.
    space = SEARCH_SPACES['small']
    table = cost_table(space)
    paths = space.random_paths(np.random.default_rng(0), 20_000)
    macs = np.array([table.macs(path) for path in paths])
    assert np.mean(macs <= 300e6) == pytest.approx(0.689, abs=0.017)
    with_head = macs + head_macs(space)
    assert np.mean(with_head <= 300e6) == pytest.approx(0.012, abs=0.004)


def test_costs_are_whole_numbers_of_python():
    assert type(backbone_macs(TWO_BLOCKS, (0, 1), [32, 33])) is int
    assert type(backbone_params(TWO_BLOCKS, (0, 1))) is int


def test_path_of_another_space_and_impossible_image_are_refused():
    for path in ((0,), (0, 4), (0, -1), (0, 1, 2)):
        for count in (backbone_macs, backbone_params):
            with pytest.raises(InputError, match='digit'):
                count(TWO_BLOCKS, path)
    with pytest.raises(InputError, match=r'`input_size`.*\(0, 224\)'):
        backbone_macs(TWO_BLOCKS, (0, 0), (0, 224))


def test_block_without_formula_is_named():
    space = SearchSpace(4, (8,), (1,), ('shuffle_3x3', 'mine'))
    with pytest.raises(InputError, match="'mine'.*measured_cost_table"):
        backbone_macs(space, (0,))
