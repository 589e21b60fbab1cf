"""What a search refuses before it evaluates anything."""

import pytest
import torch
from kit.models import ToyClassifier, searched, supernet
from kit.spaces import FOUR_BLOCKS, TWO_BLOCKS
from kit.toy_search import ToyMetric, toy_runner
from mmengine.hooks import Hook

from detnas_mm.engine import BNRecalibrationHook
from detnas_mm.structures import RECORD
from detnas_mm.utils.errors import InputError


class NoHook(Hook):
    """Does nothing."""


def refusal(work_dir, change=lambda runner: None, **settings):
    """Returns the message with which a toy search is refused."""
    scorer = ToyMetric()
    runner = toy_runner(work_dir / 'search', scorer, **settings)
    change(runner)
    with pytest.raises(InputError) as caught:
        runner.val()
    assert scorer.calls == 0
    assert not (work_dir / 'search' / RECORD).exists()
    assert '\n' not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ('settings', 'part'),
    [
        # What the space offers, so that the user can choose.
        (dict(constraint=dict(max_macs=10)), 'macs of the space are'),
        (dict(generations=100), 'asks for 400 paths, but only 256 keep'),
        (dict(constraint=dict(max_flops=1)), 'it takes min_macs, max_macs'),
        (dict(constraint=dict(max_macs='300M')), "such as 300e6, got '300M'"),
        (dict(constraint=dict(max_macs=float('nan'))), 'got nan'),
        (dict(constraint=dict(min_macs=2, max_macs=1)), '`min_macs`'),
        (dict(constraint=dict(input_size=128)), 'input_size'),
        (dict(hooks=[NoHook()]), '`custom_hooks`'),
        (dict(hooks=[BNRecalibrationHook(num_images=9)]), '8 images'),
        (dict(checkpoint='absent.pth'), 'absent.pth'),
    ],
)
def test_settings(tmp_path, settings, part):
    assert part in refusal(tmp_path, **settings)


def test_model_without_supernet(tmp_path):
    def change(runner):
        runner.model = ToyClassifier(searched(FOUR_BLOCKS, '0123'))
        torch.save(dict(state_dict=runner.model.state_dict()), file)

    file = tmp_path / 'net.pth'
    message = refusal(tmp_path, change, checkpoint=file)
    assert 'one DetNASSupernet' in message


def test_search_without_checkpoint(tmp_path):
    def change(runner):
        runner.cfg.load_from = None

    assert 'needs the checkpoint' in refusal(tmp_path, change)


def checkpoints():
    """Checkpoints that are not of the supernet, and parts of the message."""
    fitting = ToyClassifier(supernet(FOUR_BLOCKS)).state_dict()
    key = 'backbone.blocks.1.3.main.0.weight'
    other = ToyClassifier(supernet(TWO_BLOCKS)).state_dict()
    net = ToyClassifier(searched(FOUR_BLOCKS, '0123')).state_dict()
    return {
        'space': (other, ['missing: backbone.blocks.2.0']),
        'key': ({k: fitting[k] for k in fitting if k != key}, [key]),
        'net': (net, ['checkpoint of stage 2', 'one network']),
        'shape': (fitting | {key: torch.ones(1)}, [key]),
    }


@pytest.mark.parametrize('name', ['space', 'key', 'net', 'shape'])
def test_checkpoint_that_does_not_fit(tmp_path, name):
    state_dict, parts = checkpoints()[name]
    file = tmp_path / 'other.pth'
    torch.save(dict(state_dict=state_dict), file)
    message = refusal(tmp_path, checkpoint=file)
    for part in (*parts, str(file)):
        assert part in message
