"""Merged groups of parameters: the same training, in fewer groups."""

import pytest
import torch
from kit.models import ToyClassifier, changed_keys, copies, supernet, toy_batch
from kit.spaces import FOUR_BLOCKS
from mmengine.config import ConfigDict
from mmengine.optim import ExponentialLR, build_optim_wrapper

from detnas_mm.engine.optimizers.merged_groups_constructor import merge_groups

PARAMWISE = [
    dict(flat_decay_mult=0.0),
    dict(
        norm_decay_mult=0.0,
        bias_lr_mult=2.0,
        custom_keys={'stem': dict(lr_mult=0.1), 'head': dict(lr_mult=3.0)},
    ),
]


def toy():
    torch.manual_seed(0)
    return ToyClassifier(supernet(FOUR_BLOCKS, seed=3))


def trained(paramwise, **settings):
    """A toy after three iterations; with its optimizer."""
    model = toy()
    config = ConfigDict(
        optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.1),
        paramwise_cfg=paramwise,
        **settings,
    )
    wrapper = build_optim_wrapper(model, config)
    schedule = ExponentialLR(wrapper, gamma=0.5)
    for index, path in enumerate(['0123', '3210', '0000']):
        model.backbone.set_path(path)
        model.train_step(toy_batch(4, index), wrapper)
        schedule.step()
    return model, wrapper


@pytest.mark.parametrize('paramwise', PARAMWISE)
def test_training_is_the_same(paramwise):
    plain, own_groups = trained(paramwise)
    merged, groups = trained(
        paramwise, constructor='detnas_mm.MergedGroupsConstructor'
    )
    assert changed_keys(copies(toy().state_dict()), plain.state_dict())
    assert not changed_keys(plain.state_dict(), merged.state_dict())
    assert len(own_groups.optimizer.param_groups) == len(
        list(plain.parameters())
    )
    settings = {
        tuple((k, v) for k, v in group.items() if k != 'params')
        for group in own_groups.optimizer.param_groups
    }
    assert len(groups.optimizer.param_groups) == len(settings) > 1


def test_groups_stay_in_order():
    a, b, c, d = (torch.zeros(1) for _ in range(4))
    groups = merge_groups(
        [
            dict(params=[a], lr=0.1),
            dict(params=[b], lr=0.2, betas=[0.9, 0.99]),
            dict(params=[c], lr=0.1),
            dict(params=[d], betas=[0.9, 0.99], lr=0.2),
        ]
    )
    assert [group['lr'] for group in groups] == [0.1, 0.2]
    assert [list(map(id, group['params'])) for group in groups] == [
        [id(a), id(c)],
        [id(b), id(d)],
    ]


def test_shared_weights_are_updated_once():
    net = supernet('elastic_tiny', entangled=True)
    config = ConfigDict(
        constructor='detnas_mm.MergedGroupsConstructor',
        optimizer=dict(type='SGD', lr=0.1, weight_decay=0.1),
        paramwise_cfg=dict(flat_decay_mult=0.0),
    )
    groups = build_optim_wrapper(net, config).optimizer.param_groups
    found = [id(param) for group in groups for param in group['params']]
    assert sorted(found) == sorted(map(id, net.parameters()))
