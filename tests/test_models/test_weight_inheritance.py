"""Extraction of one path's weights from a supernet."""

import pytest
import torch
from kit.models import ToyClassifier, changed_keys, searched, supernet
from kit.spaces import FOUR_BLOCKS, TWO_BLOCKS

from detnas_mm.models import extract_path
from detnas_mm.utils.errors import InputError


@pytest.mark.parametrize('path', [(0, 0, 0, 0), (3, 1, 2, 0)])
def test_keys_are_those_of_the_searched_model(path):
    model = ToyClassifier(supernet(FOUR_BLOCKS, seed=1))
    state = model.state_dict()
    extracted = extract_path(state, path)
    target = ToyClassifier(searched(FOUR_BLOCKS, path, seed=2))
    assert extracted.keys() == target.state_dict().keys()
    target.load_state_dict(extracted)
    for block, choice in enumerate(path):
        theirs = target.backbone.blocks[block].state_dict()
        mine = model.backbone.blocks[block][choice].state_dict()
        assert not changed_keys(mine, theirs)
    # What is not of the supernet stays as it is.
    assert torch.equal(extracted['head.weight'], state['head.weight'])


def test_blocks_of_other_parts_are_left_alone():
    state = supernet(TWO_BLOCKS).state_dict()
    model = {f'backbone.{key}': value for key, value in state.items()}
    unrelated = {
        'neck.blocks.0.1.weight': torch.ones(1),
        'teacher.backbone.blocks.0.0.main.0.weight': torch.ones(1),
        'blocks.1.1.weight': torch.ones(1),
    }
    extracted = extract_path(model | unrelated, (0, 0))
    assert unrelated.keys() <= extracted.keys()


def test_choice_blocks_may_have_blocks_of_their_own():
    """Choice blocks can be registered by users."""
    state = {
        'backbone.blocks.0.0.blocks.0.1.weight': torch.zeros(1),
        'backbone.blocks.0.1.blocks.0.1.weight': torch.ones(1),
    }
    extracted = extract_path(state, (1,))
    assert extracted == {'backbone.blocks.0.blocks.0.1.weight': torch.ones(1)}


def test_path_of_another_space_is_refused():
    state = supernet(FOUR_BLOCKS).state_dict()
    for path, message in (
        ((0, 0), 'block 2, but .* only 2 digits'),
        ((0, 0, 0, 0, 0, 0), r'block\(s\) \[4, 5\] of the path'),
    ):
        with pytest.raises(InputError, match=message):
            extract_path(state, path, '')


def test_wrong_prefix_is_explained():
    state = supernet(TWO_BLOCKS).state_dict()
    expected = "under 'backbone.'.*backbone.blocks.0.2.main.0.weight"
    with pytest.raises(InputError, match=expected):
        extract_path(state, (2, 0))
    # The weights of a searched network are not those of a supernet.
    state = searched(TWO_BLOCKS, '20').state_dict()
    with pytest.raises(InputError, match='no weights of the supernet'):
        extract_path(state, (2, 0), '')
