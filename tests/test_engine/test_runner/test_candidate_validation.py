"""Candidates that share their images: each scores as if it were alone."""

import itertools
from copy import deepcopy

import pytest
import torch
from kit.digits_runs import read_candidates, search_config, without_seconds
from kit.models import changed_keys, copies
from kit.toy_search import ToyImages, loader_config, toy_runner
from mmengine.hooks import Hook
from mmengine.runner import Runner

from detnas_mm.engine import BNRecalibrationHook
from detnas_mm.engine.search.executors import executor_settings
from detnas_mm.evaluation.faster_coco import faster_coco
from detnas_mm.evaluation.unrounded import unrounded
from detnas_mm.models import find_supernet

DETECTORS = {
    'retinanet': 'digits/retinanet_detnas-search-tiny_fpn_digits',
    'faster_rcnn': 'digits/faster-rcnn_detnas-search-tiny_fpn_digits',
}


def toy_search(work_dir, *hooks, scorer=None, **settings):
    """Runs a search of 12 candidates and returns them."""
    work_dir.mkdir()
    runner = toy_runner(work_dir / 'search', scorer, **settings)
    for hook in hooks:
        runner.register_hook(hook)
    runner.val()
    return read_candidates(runner.work_dir)


def test_candidates_do_not_depend_on_the_size_of_a_chunk(tmp_path):
    searches = [
        toy_search(tmp_path / str(number), **settings)
        for number, settings in enumerate(
            [
                dict(cache_gb=0),
                {},
                dict(chunk=3),
                dict(chunk=100, cache_gb=0),
            ]
        )
    ]
    first = without_seconds(searches[0])
    assert len({one['fitness'] for one in first}) > 6
    for other in searches[1:]:
        assert without_seconds(other) == first


class FailsFor(Hook):
    """Breaks the batches of one path."""

    def __init__(self, path, batch):
        self.path = tuple(map(int, path))
        self.batch = batch
        self.calls = []

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        path = find_supernet(runner.model).path
        self.calls.append((batch_idx, path))
        if path == self.path and batch_idx == self.batch:
            raise RuntimeError('no memory left')


@pytest.mark.parametrize('batch', [0, 1])
def test_failed_candidate_does_not_harm_those_beside_it(tmp_path, batch):
    alone = toy_search(tmp_path / 'alone', generations=1)
    hook = FailsFor(alone[1]['path'], batch)
    together = toy_search(tmp_path / 'a', hook, generations=1, chunk=4)
    assert [one['status'] for one in together] == [
        'complete', 'failed', 'complete', 'complete',
    ]  # fmt: skip
    assert together[1]['error'] == 'RuntimeError: no memory left'
    for index in (0, 2, 3):
        assert together[index]['fitness'] == alone[index]['fitness']
    # Batch by batch, and its second attempt is its own.
    batches = [number for number, _ in hook.calls]
    others = 4 if batch == 1 else 3
    first = [0] * 4 + [1] * others
    assert batches == [*first, *range(batch + 1)]


class Unreadable(ToyImages):
    """Cannot be read the first time."""

    failures = itertools.count()

    def __getitem__(self, index):
        if index == 5 and next(self.failures) == 0:
            raise OSError('no such image')
        return super().__getitem__(index)


def test_candidates_of_a_batch_that_was_not_read_are_tried_again(tmp_path):
    alone = toy_search(tmp_path / 'alone', generations=1)
    loader = loader_config()
    loader['dataset']['type'] = Unreadable
    hook = BNRecalibrationHook(num_images=8, dataloader=loader)
    candidates = toy_search(
        tmp_path / 'a', hooks=[hook], generations=1, chunk=4
    )
    assert next(Unreadable.failures) > 1
    assert without_seconds(candidates) == without_seconds(alone)


def test_images_are_read_once_in_a_search(tmp_path, monkeypatch):
    reads = []
    read = ToyImages.__getitem__
    monkeypatch.setattr(
        ToyImages,
        '__getitem__',
        lambda self, index: reads.append(index) or read(self, index),
    )
    toy_search(tmp_path / 'kept')
    assert len(reads) == 8 + 8
    reads.clear()
    toy_search(tmp_path / 'read', cache_gb=0)
    assert len(reads) == 12 * (8 + 8)
    reads.clear()
    toy_search(tmp_path / 'shared', cache_gb=0, chunk=4)
    assert len(reads) == 3 * (8 + 8)


def test_weights_and_statistics_are_left_as_they_were(tmp_path):
    runner = toy_runner(tmp_path / 'a', chunk=4)
    loop = runner.val_loop
    before = copies(runner.model.state_dict())
    loop.run()
    assert not changed_keys(before, runner.model.state_dict())


def test_hooks_are_called_as_by_the_validation_loop(tmp_path):
    class Noting(Hook):
        def __init__(self):
            self.calls = []

    for point in (
        'before_val', 'before_val_epoch', 'before_val_iter', 'after_val_iter',
        'after_val_epoch', 'after_val',
    ):  # fmt: skip
        setattr(
            Noting,
            point,
            lambda self, *_, point=point, **given: self.calls.append(
                (point, sorted(given), given.get('batch_idx'))
            ),
        )
    hooks = Noting(), Noting()
    toy_search(
        tmp_path / 'a', hooks[0], generations=1, population=1, parents=1
    )
    runner = toy_runner(tmp_path / 'b')
    find_supernet(runner.model).set_path('0123')
    runner.register_hook(hooks[1])
    runner._val_loop = dict(type='ValLoop')
    runner.val()
    assert hooks[0].calls == hooks[1].calls
    assert len(hooks[0].calls) == 8


@pytest.mark.parametrize('name', DETECTORS)
def test_score_is_that_of_the_validation_loop(base, tmp_path, name):
    """Of mmdet's detectors, bit for bit, alone and together."""
    config = search_config(base, tmp_path / 'a', DETECTORS[name])
    if name == 'faster_rcnn':
        config.load_from = str(tmp_path / 'weights.pth')
        torch.manual_seed(0)
        model = Runner.from_cfg(_without_loops(config)).model
        model.init_weights()
        torch.save(dict(state_dict=model.state_dict()), config.load_from)
    runner = Runner.from_cfg(config)
    loop = runner.val_loop
    # As before a search: the weights get their memory format.
    runner.call_hook('before_run')
    space = loop.supernet.search_space
    paths = [space.parse(text) for text in ('0120312013', '3' * 10, '0' * 10)]
    together = loop.validation.score(paths)
    alone = [loop.validation.score([path])[0] for path in paths]
    assert together == alone
    plain = [_validate(config, path) for path in paths]
    for mine, theirs in zip(alone, plain, strict=True):
        assert {k: v for k, v in mine.items() if k in theirs} == theirs
    assert len({str(one) for one in plain}) > 1


def _without_loops(config):
    config = deepcopy(config)
    config.experiment_name += '_weights'
    config.load_from = None
    config.model.backbone.init_cfg = None
    return config


def _validate(config, path):
    """Scores a path by MMEngine's loop and the hook, without our loop."""
    config = deepcopy(config)
    config.experiment_name += f'_{path}'
    config.val_cfg = dict(type='ValLoop')
    runner = Runner.from_cfg(config)
    find_supernet(runner.model).set_path(path)
    metrics = runner.val_loop.evaluator.metrics
    with unrounded(metrics), faster_coco(metrics):
        return runner.val()


def test_processes_take_as_many_paths_as_share_images():
    read = executor_settings(None, 'pytorch', 4)
    assert read.chunk == 4
    own = executor_settings(dict(type='distributed', chunk=2), 'pytorch', 4)
    assert own.chunk == 2
