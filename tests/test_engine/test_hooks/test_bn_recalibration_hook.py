"""BN statistics of the path for a validation; afterwards the previous."""

import numpy as np
import pytest
import torch
from kit.models import changed_keys, copies
from kit.toy_search import ToyMetric, loader_config, toy_runner
from kit.toy_training import training_runner
from mmengine.evaluator import Evaluator
from mmengine.hooks import EMAHook, Hook

from detnas_mm.datasets.calibration import build_calibration_loader
from detnas_mm.engine import BNRecalibrationHook
from detnas_mm.models import (
    find_supernet,
    recalibrate_bn,
    restore_bn_statistics,
    save_bn_statistics,
)
from detnas_mm.utils.errors import InputError

PATHS = ['0000', '1230', '3123', '2011']


def validation_runner(work_dir, hook=None, metric=None, **loading):
    """Returns the Runner of plain validations with a random transform."""
    loader = loader_config(noise=0.5) | loading
    runner = toy_runner(work_dir, hooks=[hook or BNRecalibrationHook(6)])
    runner.cfg.train_dataloader = loader
    runner._val_loop = dict(type='ValLoop')
    runner._val_evaluator = Evaluator(metric or ToyMetric())
    return runner


def scores(runner, paths):
    """Scores paths, one after the other."""
    results = {}
    for path in paths:
        with find_supernet(runner.model).activate(path):
            results[path] = runner.val()['toy/score']
    return results


def test_validation_runs_on_the_statistics_of_the_path(tmp_path):
    """While it runs, exactly the BN layers of the path differ."""
    runner = validation_runner(tmp_path / 'a')
    scores(runner, PATHS[:1])
    before = copies(runner.model.state_dict())
    seen = []
    runner.hooks[-1].before_val_iter = lambda runner, *_, **__: seen.append(
        changed_keys(before, runner.model.state_dict())
    )
    scores(runner, ['3123'])
    keys = seen[0]
    assert {key.rpartition('.')[2] for key in keys} <= {
        'running_mean',
        'running_var',
        'num_batches_tracked',
    }
    blocks = {tuple(key.split('.')[2:4]) for key in keys if 'blocks' in key}
    assert blocks == {('0', '3'), ('1', '1'), ('2', '2'), ('3', '3')}
    assert any('stem' in key for key in keys)
    # Afterwards they are restored.
    assert not changed_keys(before, runner.model.state_dict())


def test_without_images_the_running_statistics_are_used(tmp_path):
    """For comparison; no training images are needed then."""
    runner = validation_runner(tmp_path / 'a', BNRecalibrationHook(0))
    runner.cfg.pop('train_dataloader')
    # Loads the weights.
    scores(runner, PATHS[:1])
    before = copies(runner.model.state_dict())
    seen = []
    runner.hooks[-1].before_val_iter = lambda runner, *_, **__: seen.append(
        changed_keys(before, runner.model.state_dict())
    )
    without = scores(runner, PATHS)
    assert not set().union(*seen)
    assert not changed_keys(before, runner.model.state_dict())
    assert without != scores(validation_runner(tmp_path / 'b'), PATHS)


def test_scores_depend_on_the_path_alone(tmp_path):
    runner = validation_runner(tmp_path / 'a')
    first = scores(runner, PATHS)
    assert len(set(first.values())) == 4
    np.random.seed(5)
    torch.manual_seed(5)
    assert scores(runner, PATHS[::-1]) == first
    # Another Runner, which loads by a worker.
    other = validation_runner(tmp_path / 'b', num_workers=1)
    assert scores(other, PATHS[2:]) == {p: first[p] for p in PATHS[2:]}


def fail(*args, **kwargs):
    raise RuntimeError('lost')


def test_failed_validation_leaves_nothing_behind(tmp_path):
    runner = validation_runner(tmp_path / 'a')
    expected = scores(runner, PATHS)
    before = copies(runner.model.state_dict())
    hook = runner.hooks[-1]
    hook.before_val_iter = fail
    with pytest.raises(RuntimeError, match='lost'):
        scores(runner, ['3333'])
    del hook.before_val_iter
    assert scores(runner, PATHS) == expected
    assert not changed_keys(before, runner.model.state_dict())


def test_seed_and_number_of_images_change_the_statistics(tmp_path):
    results = [
        scores(validation_runner(tmp_path / str(number), hook), PATHS[:1])
        for number, hook in enumerate(
            [
                BNRecalibrationHook(6),
                BNRecalibrationHook(6, seed=1),
                BNRecalibrationHook(5),
            ]
        )
    ]
    assert len({result['0000'] for result in results}) == 3


def test_hook_may_have_images_of_its_own(tmp_path):
    loader = loader_config(noise=0.5)
    hook = BNRecalibrationHook(6, dataloader=loader)
    runner = validation_runner(tmp_path / 'a', hook)
    runner.cfg.train_dataloader = None
    own = scores(runner, PATHS[:1])
    shared = validation_runner(tmp_path / 'b')
    assert scores(shared, PATHS[:1]) == own


def test_missing_training_images_are_refused(tmp_path):
    runner = validation_runner(tmp_path / 'a')
    runner.cfg.train_dataloader = None
    with pytest.raises(InputError, match='no `train_dataloader`'):
        scores(runner, PATHS[:1])
    runner = validation_runner(tmp_path / 'b', BNRecalibrationHook(9))
    with pytest.raises(InputError, match='`num_images`.* 8 images'):
        scores(runner, PATHS[:1])


def test_validation_within_a_training_does_not_change_it(tmp_path):
    """A training with a validation half-way ends with equal weights."""
    weights = []
    for number, validation in enumerate([{}, _validation()]):
        runner = training_runner(
            tmp_path / str(number), BNRecalibrationHook(6), **validation
        )
        runner.cfg.train_dataloader = loader_config(noise=0.5)
        if validation:
            runner._train_loop['val_interval'] = 3
        runner.train()
        weights.append(runner.model.state_dict())
    assert not changed_keys(*weights)


def test_checkpoint_of_a_training_may_hold_the_statistics(tmp_path):
    hook = BNRecalibrationHook(8, at_end=True)
    runner = training_runner(tmp_path, hook)
    runner.cfg.train_dataloader = loader_config()
    runner.train()
    saved = torch.load(tmp_path / 'iter_6.pth', weights_only=False)
    plain = training_runner(tmp_path / 'plain')
    plain.train()
    changed = changed_keys(saved['state_dict'], plain.model.state_dict())
    assert {key.rpartition('.')[2] for key in changed} >= {
        'running_mean',
        'running_var',
    }
    loader = build_calibration_loader(loader_config(), 8)
    recalibrate_bn(plain.model, loader, (0, 8))
    assert not {
        key
        for key in changed_keys(saved['state_dict'], plain.model.state_dict())
        if 'num_batches' not in key
    }


def _validation():
    return dict(
        val_dataloader=loader_config(),
        val_evaluator=Evaluator(ToyMetric()),
        val_cfg=dict(type='ValLoop'),
    )


@pytest.mark.parametrize('update_buffers', [False, True])
def test_statistics_are_those_of_averaged_weights(tmp_path, update_buffers):
    """MMEngine's EMAHook validates with other weights than it trains."""
    seen = {}

    class Watch(Hook):
        priority = 'LOWEST'

        def before_val_iter(self, runner, **_):
            model = runner.model
            seen['validated'] = copies(model.state_dict())
            saved = save_bn_statistics(model)
            recalibrate_bn(
                model, build_calibration_loader(loader_config(), 8), (0, 8)
            )
            seen['right'] = copies(model.state_dict())
            restore_bn_statistics(model, saved)
            model.eval()

        def before_val(self, runner):
            seen['trained'] = copies(runner.model.state_dict())
            seen['average'] = copies(ema.ema_model.state_dict())

        def after_val(self, runner, metrics=None):
            trained, average = seen['trained'], seen['average']
            changed = changed_keys(trained, copies(runner.model.state_dict()))
            changed |= changed_keys(
                average, copies(ema.ema_model.state_dict())
            )
            seen['changed'] = changed

    class Before(Watch):
        priority = 'HIGHEST'
        before_val_iter = Hook.before_val_iter
        after_val = Hook.after_val

    class After(Watch):
        before_val = Hook.before_val

    ema = EMAHook(momentum=0.5, update_buffers=update_buffers)
    runner = training_runner(
        tmp_path,
        ema,
        BNRecalibrationHook(8),
        Before(),
        After(),
        val_dataloader=loader_config(),
        val_cfg=dict(type='ValLoop'),
        val_evaluator=Evaluator(ToyMetric()),
    )
    runner.cfg.train_dataloader = loader_config()
    runner._train_loop.update(val_interval=6)
    runner.train()
    names = {
        key
        for key in changed_keys(seen['validated'], seen['right'])
        if 'num_batches' not in key
    }
    assert not names
    assert 'head.weight' in changed_keys(seen['trained'], seen['validated'])
    assert not seen['changed']
