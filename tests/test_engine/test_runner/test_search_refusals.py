"""What a search refuses before it evaluates anything."""

from pathlib import Path

import pytest
import torch
from kit.digits_runs import search_config
from kit.models import ToyClassifier, searched, supernet
from kit.spaces import FOUR_BLOCKS, TWO_BLOCKS
from kit.toy_search import ToyMetric, toy_runner
from mmengine.hooks import Hook
from mmengine.runner import Runner

from detnas_mm.engine import BNRecalibrationHook


class NoHook(Hook):
    """Does nothing."""


def refusal(work_dir, error=ValueError, **settings):
    """The message with which a toy search is refused."""
    scorer = ToyMetric()
    with pytest.raises(error) as caught:
        toy_runner(work_dir / 'search', scorer, **settings).val()
    assert scorer.calls == 0
    assert not (work_dir / 'search' / 'search_record.jsonl').exists()
    assert '\n' not in str(caught.value)
    return str(caught.value)


def test_bounds_that_no_path_keeps(tmp_path):
    message = refusal(tmp_path, constraint=dict(max_macs=10))
    assert 'no path keeps the bounds' in message
    # What the space offers, so that the user can choose.
    assert 'macs of the space are' in message


def test_bounds_that_too_few_paths_keep(tmp_path):
    message = refusal(tmp_path, generations=100)
    assert 'asks for 400 paths, but only 256 keep' in message


def test_whole_detector_bounds_that_no_path_keeps(base, tmp_path):
    """The backbone alone would keep them."""
    config = search_config(base, tmp_path)
    config.val_cfg.constraint = dict(max_macs=41e6, whole_detector=True)
    with pytest.raises(ValueError, match='no path keeps the bounds'):
        Runner.from_cfg(config).val()
    assert not (tmp_path / 'search_record.jsonl').exists()


@pytest.mark.parametrize(
    ('settings', 'named'),
    [
        (dict(constraint=dict(max_flops=1)), 'did you mean max_macs?'),
        (dict(constraint=dict(max_mac=1)), 'did you mean max_macs?'),
        (dict(constraint=dict(max_macs='300M')), "such as 300e6, got '300M'"),
        (dict(constraint=dict(min_macs=2, max_macs=1)), '`min_macs`'),
        (dict(generations=0), '`generations`'),
        (dict(population=0), '`population`'),
        (dict(parents=0), '`parents`'),
        (dict(parents=5), '`parents`'),
        (dict(mutation_prob=0.0), '`mutation_prob`'),
        (dict(seed=-1), '`seed`'),
        (dict(lookahead=-1), '`lookahead`'),
        (dict(executor=dict(type='cloud')), 'local or ray'),
        (dict(executor=dict(type='distributed')), 'local or ray'),
        (dict(executor=dict(type='ray', gpus=1)), 'gpus_per_worker'),
        (dict(executor=dict(type='ray', workers=0)), '`workers`'),
        (dict(algorithm='annealing'), '`algorithm`'),
        (dict(minimise=['flops']), '`minimise`'),
        (dict(minimise=['macs', 'macs']), '`minimise`'),
        (dict(minimise=['latency']), 'latency_table'),
        (dict(algorithm='given'), '`paths`'),
        (dict(algorithm='given', paths=['0123', '01 23']), '`paths`'),
        (dict(algorithm='given', paths=['012']), 'path'),
        (dict(algorithm='given', paths=['0124']), 'path'),
    ],
)
def test_setting_out_of_its_range(tmp_path, settings, named):
    assert named in refusal(tmp_path, **settings)


def test_search_without_recalibration(tmp_path):
    message = refusal(tmp_path, hooks=[NoHook()])
    assert 'BNRecalibrationHook' in message
    assert 'custom_hooks' in message


def test_model_without_supernet(tmp_path):
    runner = toy_runner(tmp_path / 'search')
    runner.model = ToyClassifier(searched(FOUR_BLOCKS, '0123'))
    with pytest.raises(ValueError, match='one DetNASSupernet'):
        runner.val()


def test_search_without_checkpoint(tmp_path):
    runner = toy_runner(tmp_path / 'search')
    runner.cfg.load_from = None
    with pytest.raises(ValueError, match='needs the checkpoint'):
        runner.val()


def saved(file, model, **changes):
    state_dict = model.state_dict() | changes
    state_dict = {k: v for k, v in state_dict.items() if v is not None}
    torch.save(dict(state_dict=state_dict), file)
    return file


def test_checkpoint_of_another_space(tmp_path):
    model = ToyClassifier(supernet(TWO_BLOCKS))
    file = saved(tmp_path / 'other.pth', model)
    message = refusal(tmp_path, checkpoint=file)
    assert 'missing: backbone.blocks.2.0' in message


def test_checkpoint_with_a_missing_key(tmp_path):
    key = 'backbone.blocks.1.3.main.0.weight'
    model = ToyClassifier(supernet(FOUR_BLOCKS))
    file = saved(tmp_path / 'part.pth', model, **{key: None})
    message = refusal(tmp_path, checkpoint=file)
    assert f'1 missing: {key}' in message


def test_checkpoint_of_a_searched_backbone(tmp_path):
    model = ToyClassifier(searched(FOUR_BLOCKS, '0123'))
    file = saved(tmp_path / 'searched.pth', model)
    message = refusal(tmp_path, checkpoint=file)
    assert 'missing' in message
    assert 'left over' in message
    assert 'checkpoint of stage 2' in message


def test_checkpoint_that_does_not_exist(tmp_path):
    absent = tmp_path / 'absent.pth'
    message = refusal(tmp_path, FileNotFoundError, checkpoint=absent)
    assert str(absent) in message


def test_unknown_metric_lists_those_there_are(tmp_path):
    """Known only after a validation, but before anything is recorded."""
    scorer = ToyMetric()
    runner = toy_runner(tmp_path / 'search', scorer, metric='coco/mAP')
    with pytest.raises(ValueError, match='toy/score, toy/other'):
        runner.val()
    assert scorer.calls == 1
    record = Path(runner.work_dir) / 'search_record.jsonl'
    assert len(record.read_text().splitlines()) == 1
    # Mended, it goes on in the same work dir.
    assert toy_runner(tmp_path / 'other', metric='toy/other').val()


@pytest.mark.parametrize('num_images', [-1, 9])
def test_more_calibration_images_than_there_are(tmp_path, num_images):
    hooks = [BNRecalibrationHook(num_images=num_images)]
    message = refusal(tmp_path, hooks=hooks)
    assert '`num_images`' in message
    assert '1 to the 8 images' in message
