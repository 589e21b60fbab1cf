"""From one stage to the next: what is decayed, and what is loaded."""

from copy import deepcopy

import pytest
import torch
from kit.digits_runs import load_config, train_config
from mmengine.config import ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

STAGE_1 = 'digits/detnas-supernet-tiny_digits-cls'
STAGE_2 = 'digits/retinanet_detnas-supernet-tiny_fpn_digits'


def classifier(config):
    init_default_scope('mmpretrain')
    model = ConfigDict(config.model)
    model.data_preprocessor = deepcopy(config.data_preprocessor)
    return MODELS.build(model)


def test_stage_1_decays_weights_of_more_than_one_dimension(digits, tmp_path):
    """The authors' code: neither biases nor the affine part of BN."""
    paper = load_config(
        'detnas/detnas-supernet-small_8xb128_in1k', digits, tmp_path
    )
    model = classifier(paper)
    wrapper = build_optim_wrapper(model, paper.optim_wrapper)
    decay = {}
    for group in wrapper.optimizer.param_groups:
        for param in group['params']:
            decay[id(param)] = group['weight_decay']
    params = list(model.parameters())
    assert decay.keys() == {id(param) for param in params}
    for param in params:
        assert decay[id(param)] == (4e-5 if param.ndim > 1 else 0)


@pytest.fixture(scope='module')
def stage_1_weights(digits, tmp_path_factory):
    config = load_config(STAGE_1, digits, 'unused')
    return classifier(config).state_dict()


def stage_2_runner(digits, tmp_path, weights):
    file = tmp_path / 'stage_1.pth'
    torch.save(dict(state_dict=weights), file)
    config = train_config(STAGE_2, digits, tmp_path)
    config.model.backbone.init_cfg.checkpoint = str(file)
    return Runner.from_cfg(config)


def test_stage_2_starts_from_the_weights_of_stage_1(
    digits, tmp_path, stage_1_weights
):
    runner = stage_2_runner(digits, tmp_path, stage_1_weights)
    runner._init_model_weights()
    loaded = runner.model.backbone.state_dict()
    for key, value in loaded.items():
        assert torch.equal(value, stage_1_weights[f'backbone.{key}'])


@pytest.mark.parametrize('change', ['missing', 'left over', 'another shape'])
def test_stage_2_refuses_weights_that_do_not_fit(
    digits, tmp_path, stage_1_weights, change
):
    key = 'backbone.blocks.3.2.main.1.weight'
    weights = dict(stage_1_weights)
    if change == 'missing':
        weights.pop(key)
    elif change == 'left over':
        key = 'backbone.blocks.10.0.main.0.weight'
        weights[key] = torch.zeros(1)
    else:
        weights[key] = torch.zeros(3)
    runner = stage_2_runner(digits, tmp_path, weights)
    with pytest.raises(ValueError, match=change) as error:
        runner.train()
    assert key.removeprefix('backbone.') in str(error.value)


def test_stage_2_refuses_a_checkpoint_without_supernet(digits, tmp_path):
    runner = stage_2_runner(digits, tmp_path, {'head.fc.bias': torch.ones(2)})
    with pytest.raises(ValueError, match='missing'):
        runner.train()
