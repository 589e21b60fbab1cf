"""The score of a candidate: that of MMEngine's validation of its path."""

import itertools
from copy import deepcopy

import pytest
import torch
from kit.digits_runs import (
    read_candidates,
    run_search,
    search_config,
    without_seconds,
)
from kit.models import ToyClassifier, supernet
from kit.spaces import FOUR_BLOCKS
from kit.toy_search import ToyImages, toy_runner
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from detnas_mm.evaluation import use_exact_metrics
from detnas_mm.evaluation.coco_metric import ExactCocoMetric
from detnas_mm.models import find_supernet
from detnas_mm.utils.errors import InputError

DETECTORS = {
    'retinanet': 'digits/retinanet_detnas-search-tiny_fpn_digits',
    'faster_rcnn': 'digits/faster-rcnn_detnas-search-tiny_fpn_digits',
}
PATHS = ['0123', '0213', '1023', '2213', '0000']


def toy_search(work_dir, *hooks, paths=PATHS, **settings):
    """Runs a search of some paths and returns its candidates."""
    work_dir.parent.mkdir(exist_ok=True)
    fixed = dict(type='FixedPaths', paths=paths)
    runner = toy_runner(work_dir, algorithm=fixed, **settings)
    for hook in hooks:
        runner.register_hook(hook)
    runner.val()
    return read_candidates(work_dir)


@pytest.mark.parametrize('name', DETECTORS)
def test_score_is_that_of_the_validation_loop(base, tmp_path, name):
    """To the last bit, in any order, with mmdet's detectors."""
    config = search_config(base, tmp_path / 'a', DETECTORS[name])
    if name == 'faster_rcnn':
        config.load_from = str(tmp_path / 'weights.pth')
        write_weights(config)
        # Many boxes: with random weights few of them are at a digit.
        config.model.test_cfg.rpn.max_per_img = 200
        config.model.test_cfg.rcnn.update(score_thr=0.0, max_per_img=500)
    runner = Runner.from_cfg(config)
    loop = runner.val_loop
    # As before a search: the weights get their memory format.
    runner.call_hook('before_run')
    space = loop.supernet.search_space
    paths = [space.parse(text) for text in ('0120312013', '0' * 10)]
    (metric,) = loop.validation.val_loop.evaluator.metrics
    assert type(metric) is ExactCocoMetric
    score = loop.validation.score
    found = [score(path) for path in paths]
    assert [score(path) for path in paths[::-1]] == found[::-1]
    assert found == validate(config, paths)
    assert len({str(metrics) for metrics in found}) > 1


def write_weights(config):
    """Writes random weights to the checkpoint of a config."""
    config = deepcopy(config)
    config.experiment_name += '_weights'
    file, config.load_from = config.load_from, None
    config.model.backbone.init_cfg = None
    torch.manual_seed(0)
    model = Runner.from_cfg(config).model
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), file)


def validate(config, paths):
    """Scores paths by MMEngine's loop, without ours."""
    config = deepcopy(config)
    config.experiment_name += '_plain'
    config.val_cfg = dict(type='ValLoop')
    runner = Runner.from_cfg(config)
    use_exact_metrics(runner.val_loop.evaluator)
    metrics = []
    for path in paths:
        find_supernet(runner.model).set_path(path)
        metrics.append(runner.val())
    return metrics


@pytest.mark.parametrize('batch', [0, 1])
def test_failed_candidate_does_not_affect_others(tmp_path, batch):
    """Neither its predictions nor its BN statistics remain."""
    undisturbed = toy_search(tmp_path / 'a' / 'search')
    calls = itertools.count()

    class OutOfMemory(Hook):
        def before_val_iter(self, runner, batch_idx, data_batch=None):
            # Each validation has two batches.
            if next(calls) == 2 + batch:
                raise RuntimeError('out of memory\nlong explanation')

    candidates = toy_search(tmp_path / 'b' / 'search', OutOfMemory())
    failed = candidates[1]
    assert failed['status'] == 'failed'
    assert failed['error'] == 'RuntimeError: out of memory'
    assert failed['fitness'] is None
    assert failed['metrics'] == {}
    del candidates[1], undisturbed[1]
    assert without_seconds(candidates) == without_seconds(undisturbed)


def test_nan_weights_of_a_choice_fail_its_paths_alone(tmp_path):
    expected = toy_search(tmp_path / 'fine' / 'search')
    spoilt = nan_checkpoint(tmp_path, 'backbone.blocks.1.2.main.0.weight')
    candidates = toy_search(tmp_path / 'nan', checkpoint=spoilt)
    for path, candidate, fine in zip(PATHS, candidates, expected, strict=True):
        if path[1] == '2':
            assert candidate['status'] == 'failed'
            assert 'loss is nan' in candidate['error']
        else:
            assert candidate['fitness'] == fine['fitness']


def test_search_of_a_diverged_supernet_ends(tmp_path):
    spoilt = nan_checkpoint(tmp_path, 'backbone.stem.0.weight')
    with pytest.raises(InputError, match='in a row failed.* loss is nan'):
        toy_runner(tmp_path / 'search', checkpoint=spoilt).val()


def nan_checkpoint(folder, key):
    """Saves a supernet in which one weight is NaN."""
    torch.manual_seed(0)
    model = ToyClassifier(supernet(FOUR_BLOCKS, seed=0))
    model.state_dict()[key].fill_(torch.nan)
    file = folder / 'nan.pth'
    torch.save(dict(state_dict=model.state_dict()), file)
    return file


def test_images_are_read_once_in_a_search(tmp_path, monkeypatch):
    """The same scores, from memory or from the disk."""
    reads = []
    read = ToyImages.__getitem__
    monkeypatch.setattr(
        ToyImages,
        '__getitem__',
        lambda self, index: reads.append(index) or read(self, index),
    )
    kept = toy_search(tmp_path / 'kept')
    assert len(reads) == 8 + 8
    reads.clear()
    again = toy_search(tmp_path / 'read', cache_gb=0)
    assert len(reads) == len(PATHS) * (8 + 8)
    assert without_seconds(kept) == without_seconds(again)


def test_sync_bn_of_a_config_becomes_bn(tmp_path):
    """No process waits for another one inside an evaluation."""
    runner = toy_runner(tmp_path / 'sync', norm='SyncBN', generations=1)
    layers = list(runner.model.modules())
    assert not [x for x in layers if isinstance(x, nn.SyncBatchNorm)]
    runner.val()
    toy_runner(tmp_path / 'plain', generations=1).val()
    first, second = (
        without_seconds(read_candidates(tmp_path / name))
        for name in ('sync', 'plain')
    )
    assert first == second


def test_search_in_mixed_precision(base, tmp_path):
    """On a CPU that is bfloat16, which metrics cannot read."""
    config = search_config(base, tmp_path)
    config.val_cfg.fp16 = True
    config.val_cfg.algorithm = dict(type='FixedPaths', paths='0' * 10)
    candidates = run_search(config)
    assert {c['status'] for c in candidates} == {'complete'}
