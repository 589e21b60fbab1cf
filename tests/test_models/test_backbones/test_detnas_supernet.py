"""The supernet is, for each path, the network of that path."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.models import (
    ToyClassifier,
    changed_keys,
    copies,
    searched,
    supernet,
    toy_batch,
)
from kit.spaces import FOUR_BLOCKS, TWO_BLOCKS, paths_of, spaces
from mmengine.optim import OptimWrapper
from torch import nn

from detnas_mm.models import DetNASSupernet, extract_path, find_supernet

SHUFFLES = ['grouped', 'interleaved']
IMAGE = toy_batch(2, seed=0, size=(33, 20))['inputs']


@pytest.mark.parametrize('shuffle', SHUFFLES)
@settings(max_examples=8)
@given(st.data())
def test_path_of_supernet_equals_searched_net(shuffle, data):
    """Outputs, gradients and BN statistics, bit for bit."""
    space = data.draw(spaces(max_stages=2, max_blocks=2))
    path = data.draw(paths_of(space))
    whole = supernet(space, path, seed=1, shuffle=shuffle)
    one = searched(space, path, seed=2, shuffle=shuffle)
    one.load_state_dict(extract_path(whole.state_dict(), path, ''))

    whole.eval(), one.eval()
    assert all(map(torch.equal, whole(IMAGE), one(IMAGE)))

    whole.train(), one.train()
    outputs = whole(IMAGE), one(IMAGE)
    assert all(map(torch.equal, *outputs))
    for features in outputs:
        # Every output counts, each value with another weight.
        sum(
            (x * torch.linspace(-1, 1, x.numel()).reshape(x.shape)).sum()
            for x in features
        ).backward()
    params = extract_path(dict(whole.named_parameters()), path, '')
    grads = {name: param.grad for name, param in params.items()}
    expected = {name: p.grad for name, p in one.named_parameters()}
    assert not changed_keys(grads, expected)
    assert any(grad.abs().max() > 0 for grad in grads.values())
    statistics = extract_path(whole.state_dict(), path, '')
    assert not changed_keys(statistics, one.state_dict())


OPTIMIZERS = dict(
    nesterov=lambda params: torch.optim.SGD(
        params, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True
    ),
    adamw=lambda params: torch.optim.AdamW(params, lr=0.1, weight_decay=0.1),
)


def owned_state(model, optimizer):
    """Weights, BN buffers and optimizer state, by name of parameter."""
    state = copies(model.state_dict())
    for name, param in model.named_parameters():
        for key, value in optimizer.state.get(param, {}).items():
            if torch.is_tensor(value):
                state[f'{name} {key}'] = value.clone()
    return state


@pytest.mark.parametrize('optimizer', OPTIMIZERS)
@pytest.mark.parametrize('accumulative', [1, 2])
def test_training_changes_only_the_active_path(optimizer, accumulative):
    """Also those that were trained before and have momentum since."""
    model = ToyClassifier(supernet(FOUR_BLOCKS))
    wrapper = OptimWrapper(
        OPTIMIZERS[optimizer](model.parameters()),
        accumulative_counts=accumulative,
    )
    paths = ['0000', '1111', '0101', '2323', '0123', '1032', '1111']
    for index, path in enumerate(paths):
        model.backbone.set_path(path)
        before = owned_state(model, wrapper.optimizer)
        for step in range(accumulative):
            batch = toy_batch(4, seed=10 * index + step)
            wrapper.update_params(model(**batch, mode='loss')['loss'])
        after = owned_state(model, wrapper.optimizer)

        taken = tuple(f'backbone.blocks.{i}.{c}.' for i, c in enumerate(path))
        taken += ('backbone.stem.', 'head.')
        # State that appears for the first time is that of taken choices.
        assert all(key.startswith(taken) for key in after.keys() - before)
        changed = changed_keys(before, {key: after[key] for key in before})
        assert all(key.startswith(taken) for key in changed)
        # And the taken ones are trained, the last of them included.
        weights = {
            name
            for name, _ in model.named_parameters()
            if name.startswith(taken)
        }
        assert weights <= changed


def test_set_path():
    net = DetNASSupernet(TWO_BLOCKS, out_indices=[0])
    assert net.path is None
    for path in ('13', [1, 3], (1, 3), '1 3'):
        net.set_path(path)
        assert net.path == (1, 3)
    for wrong in ('1', '14', (0, 1, 2), (0, -1), 'x0'):
        with pytest.raises(ValueError, match='digit'):
            net.set_path(wrong)
        assert net.path == (1, 3)


def test_path_is_active_inside_a_block_only():
    net = DetNASSupernet(TWO_BLOCKS, out_indices=[0])
    with net.activate('01'):
        assert net.path == (0, 1)
        with net.activate('22'):
            assert net.path == (2, 2)
        assert net.path == (0, 1)
        with pytest.raises(KeyError), net.activate('33'):
            raise KeyError
        assert net.path == (0, 1)
    assert net.path is None


def test_without_a_path_it_says_what_to_do():
    net = DetNASSupernet(TWO_BLOCKS, out_indices=[0])
    with pytest.raises(RuntimeError, match='no active path.*set_path'):
        net(IMAGE)


def test_active_and_inactive_blocks():
    net = supernet(TWO_BLOCKS, '13')
    active, inactive = net.active_blocks(), net.inactive_blocks()
    assert active == [net.blocks[0][1], net.blocks[1][3]]
    assert {*active, *inactive} == {b for row in net.blocks for b in row}
    assert len(inactive) == 6


def test_find_supernet():
    net = supernet(TWO_BLOCKS)
    assert find_supernet(ToyClassifier(net)) is net
    assert find_supernet(net) is net
    with pytest.raises(ValueError, match='Linear has 0'):
        find_supernet(nn.Linear(1, 1))
    with pytest.raises(ValueError, match='ModuleList has 2'):
        find_supernet(nn.ModuleList([net, supernet(TWO_BLOCKS)]))
