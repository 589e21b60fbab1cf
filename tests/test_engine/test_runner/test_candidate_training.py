"""Candidates that are trained instead of scored by the supernet."""

import json
import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from kit.digits_runs import run_search, search_config
from mmengine.config import Config

from detnas_mm.engine.runner.candidate_training import (
    detector_config,
    shorten_loop,
    shortened_scheduler,
)
from detnas_mm.utils.errors import InputError

METRIC = 'coco/bbox_mAP'
MODULE = 'detnas_mm.engine.runner.candidate_training'


@pytest.fixture(scope='module')
def trained(tmp_path_factory, base):
    """A search whose candidate was trained for one epoch."""
    config = training_search(base, tmp_path_factory.mktemp('trained'))
    return config.work_dir, run_search(config)[0]


def training_search(base, work_dir):
    config = search_config(base, work_dir)
    # A supernet may have it, a path has not.
    config.model.backbone.entangled = True
    config.train_cfg = dict(
        type='EpochBasedTrainLoop', max_epochs=8, val_interval=8
    )
    config.val_cfg.algorithm = dict(type='FixedPaths', paths=['0123012301'])
    config.val_cfg.training = dict(seeds=1, share=0.1, test=True)
    config.test_dataloader = deepcopy(config.val_dataloader)
    config.test_evaluator = deepcopy(config.val_evaluator)
    return config


def test_score_is_that_of_the_training(trained):
    work_dir, candidate = trained
    (folder,) = Path(work_dir).glob('trainings/*/0123012301_seed0')
    start = torch.load(f'{folder}/start.pth')
    end = torch.load(f'{folder}/epoch_1.pth', weights_only=False)
    assert start.keys() == end['state_dict'].keys()
    weight = 'backbone.blocks.0.main.0.weight'
    assert not torch.equal(start[weight], end['state_dict'][weight])
    with open(f'{folder}/metrics.json') as file:
        metrics = json.load(file)
    assert candidate['fitness'] == metrics[METRIC]
    assert candidate['metrics'][f'{METRIC}/seed0'] == metrics[METRIC]
    # Here the test split is the search split.
    assert metrics[f'test/{METRIC}'] == metrics[METRIC]
    assert candidate['metrics'][f'test/{METRIC}/seed0'] == metrics[METRIC]


def test_finished_trainings_are_not_repeated(base, tmp_path, monkeypatch):
    """A search may be killed between the seeds of a candidate."""
    scores = iter([{METRIC: 0.25}, KeyboardInterrupt(), {METRIC: 0.75}])

    class Pool:
        def __init__(self, *_):
            self.submit = lambda *_: self

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def result(self):
            score = next(scores)
            if isinstance(score, KeyboardInterrupt):
                raise score
            return score

    monkeypatch.setattr(f'{MODULE}.ProcessPoolExecutor', Pool)
    config = training_search(base, tmp_path)
    config.val_cfg.training = dict(seeds=2, share=0.1)
    with pytest.raises(KeyboardInterrupt):
        run_search(deepcopy(config))
    config.val_cfg.resume = True
    candidate = run_search(deepcopy(config))[0]
    assert candidate['fitness'] == 0.5
    assert candidate['metrics'] == {
        METRIC: 0.5, f'{METRIC}/seed0': 0.25, f'{METRIC}/seed1': 0.75,
    }  # fmt: skip
    # With other settings all trainings are new.
    config.val_cfg.update(resume=False, overwrite=True)
    config.val_cfg.training.share = 0.5
    scores = iter([{METRIC: 1.0}, {METRIC: 0.0}])
    assert run_search(config)[0]['metrics'][f'{METRIC}/seed0'] == 1.0


def test_training_ends_with_a_killed_search():
    """Also when it has finished and waits for the next one."""
    search = (
        'import multiprocessing\n'
        f'from {MODULE} import _end_with_parent\n'
        'context = multiprocessing.get_context("forkserver")\n'
        'training = context.Process(target=_end_with_parent)\n'
        'training.start()\n'
        'print(training.pid, flush=True)\n'
        'training.join()\n'
    )
    with subprocess.Popen(
        [sys.executable, '-c', search], stdout=subprocess.PIPE, text=True
    ) as parent:
        child = int(parent.stdout.readline())
        os.kill(child, 0)
        parent.kill()
        # Fails if a process holds the other end of the output.
        parent.communicate(timeout=60)


def test_schedules_are_shortened():
    config = Config(dict(train_cfg=dict(max_epochs=12, val_interval=1)))
    assert shorten_loop(config, 0.25) == 0.25
    assert config.train_cfg.max_epochs == 3
    assert config.train_cfg.val_begin > 3
    # Schedulers end with the loop: their share is that of whole epochs.
    assert shorten_loop(config, 0.6) == 2 / 3
    assert shorten_loop(config, 0.01) == 1 / 2
    assert config.train_cfg.max_epochs == 1
    for scheduler, expected in (
        (
            dict(type='LinearLR', by_epoch=False, begin=0, end=500),
            dict(type='LinearLR', by_epoch=False, begin=0, end=125),
        ),
        (
            dict(type='MultiStepLR', end=12, milestones=[8, 11]),
            dict(type='MultiStepLR', end=3, milestones=[2, 3]),
        ),
        (
            dict(T_max=12, begin=1, end=12, convert_to_iter_based=True),
            dict(T_max=30, begin=2, end=30, by_epoch=False),
        ),
        (dict(begin=0, end=1), dict(begin=0, end=1)),
    ):
        assert shortened_scheduler(scheduler, 0.25, 10) == expected


def test_wrong_settings_are_refused(base, tmp_path):
    config = search_config(base, tmp_path)
    for training, message in (
        (dict(epochs=3), r'`val_cfg.training`.*epochs'),
        (dict(seeds=0), '`training.seeds`'),
        (dict(share=0), '`training.share`'),
    ):
        config.val_cfg.training = training
        with pytest.raises(InputError, match=message):
            run_search(config)
    with pytest.raises(InputError, match='`train_cfg`'):
        shorten_loop(Config(dict(train_cfg=None)), 0.5)
    with pytest.raises(InputError, match="as `model.backbone`, got 'ResNet'"):
        detector_config(Config(dict(model=dict(backbone=dict(type='ResNet')))))
