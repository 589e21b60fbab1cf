"""The checkpoint of a path, extracted from the checkpoint of a supernet."""

import pytest
import torch
from kit import digits_runs
from mmengine.registry import MODELS
from mmengine.runner import Runner

from detnas_mm.engine import BNRecalibrationHook
from detnas_mm.engine.subnet import extract_subnet
from detnas_mm.models import find_supernet, save_checkpoint
from detnas_mm.utils.errors import InputError

PATH = '3120312031'


@pytest.fixture
def config(digits, tmp_path):
    """The config of the supernet."""
    config = digits_runs.load_config(
        digits_runs.SUPERNET, digits, tmp_path / 'work'
    )
    config.model.backbone.init_cfg = None
    return config


def test_subnet_is_the_path_with_its_own_statistics(
    config, supernet, tmp_path
):
    runner = Runner.from_cfg(config)
    model = runner.model
    state_dict = torch.load(supernet, weights_only=True)['state_dict']
    model.load_state_dict(state_dict)
    hook = next(h for h in runner.hooks if isinstance(h, BNRecalibrationHook))
    image = torch.randn(1, 3, 96, 96)
    with find_supernet(model).activate(PATH):
        hook.before_val(runner)
        model.eval()
        expected = model(image, mode='tensor')
        hook.after_val(runner)
        other = model.eval()(image, mode='tensor')
    assert not torch.equal(expected[0][0], other[0][0])

    checkpoint = extract_subnet(config, str(supernet), PATH)
    assert checkpoint['meta']['path'] == PATH
    assert checkpoint['meta']['bn_recalibrated']
    file = tmp_path / 'subnet.pth'
    save_checkpoint(checkpoint, file)
    config.model.backbone.update(type='detnas_mm.DetNASNet', path=PATH)
    searched = MODELS.build(config.model)
    searched.load_state_dict(torch.load(file, weights_only=True)['state_dict'])
    outputs = searched.eval()(image, mode='tensor')
    torch.testing.assert_close(outputs, expected)


def test_mistakes_are_refused_before_a_runner_is_built(
    config, supernet, tmp_path, monkeypatch
):
    monkeypatch.setattr(Runner, 'from_cfg', None)
    with pytest.raises(InputError, match='no search result'):
        extract_subnet(config, str(supernet), 'absent.json')
    torch.save(dict(state_dict={}), tmp_path / 'other.pth')
    with pytest.raises(InputError, match='does not fit RetinaNet'):
        extract_subnet(config, str(tmp_path / 'other.pth'), PATH)
    config.train_dataloader.dataset.data_root = '/nowhere/digits/'
    with pytest.raises(InputError, match='/nowhere/digits'):
        extract_subnet(config, str(supernet), PATH)


def test_images_are_needed_only_for_statistics(config, supernet):
    config.train_dataloader.dataset.data_root = '/nowhere/digits/'
    for hook in config.custom_hooks:
        if 'num_images' in hook:
            hook.num_images = 0
    checkpoint = extract_subnet(config, str(supernet), PATH)
    assert not checkpoint['meta']['bn_recalibrated']
