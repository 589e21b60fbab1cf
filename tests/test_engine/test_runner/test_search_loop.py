"""A search of the digits detector, with all that it leaves behind."""

import json
from copy import deepcopy
from pathlib import Path

import pytest
from kit.digits_runs import (
    read_candidates,
    run_search,
    search_config,
    without_seconds,
)
from kit.toy_search import toy_runner
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from detnas_mm import SEARCH_SPACES
from detnas_mm.cost import backbone_macs, backbone_params
from detnas_mm.executors.stopwatch import PARTS
from detnas_mm.structures import SearchRecord
from detnas_mm.utils.files import file_digest, text_digest

FIELDS = {
    'index',
    'generation',
    'origin',
    'path',
    'macs',
    'params',
    'fitness',
    'metrics',
    'seconds',
    'seconds_by_part',
}
TINY = SEARCH_SPACES['tiny']


def test_record_has_a_line_for_each_candidate(searched):
    candidates = searched[1]
    assert [one['index'] for one in candidates] == list(range(6))
    assert [one['generation'] for one in candidates] == [0, 0, 0, 1, 1, 1]
    assert len({one['path'] for one in candidates}) == 6
    assert {one['origin'] for one in candidates[:3]} == {'random'}
    later = {one['origin'] for one in candidates[3:]}
    assert later <= {'mutation', 'crossover', 'random'}
    for one in candidates:
        assert set(one) >= FIELDS
        path = TINY.parse(one['path'])
        assert one['path'] == TINY.format(path)
        assert one['macs'] == backbone_macs(TINY, path) <= 41e6
        assert one['params'] == backbone_params(TINY, path)
        by_part = one['seconds_by_part']
        assert set(by_part) == set(PARTS)
        assert min(by_part.values()) > 0
        total = sum(by_part.values())
        assert 0.5 * one['seconds'] < total <= one['seconds']
        assert one['status'] == 'complete'


def test_fitness_is_the_metric_unrounded(searched):
    candidates = searched[1]
    for one in candidates:
        assert one['fitness'] == one['metrics']['coco/bbox_mAP']
    scores = [one['fitness'] for one in candidates]
    assert any(round(score, 6) != score for score in scores)
    assert len(set(scores)) > 1


def test_visualizer_gets_the_numbers_of_the_search_only(searched):
    config, candidates = searched
    (file,) = Path(config.work_dir).glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    scores = {
        line['step']: line['search/fitness']
        for line in lines
        if 'search/fitness' in line
    }
    assert scores == {one['index']: one['fitness'] for one in candidates}
    # Not those of each validation, all of them at step 0.
    names = {name for line in lines for name in line if name != 'step'}
    assert {name.split('/')[0] for name in names} == {'search'}


def test_header_says_what_was_searched(searched, supernet):
    config = searched[0]
    record = SearchRecord.read(f'{config.work_dir}/search_record.jsonl')
    header = record.header
    assert header.checkpoint_digest == file_digest(supernet)
    assert header.config_digest == text_digest(header.config)
    assert header.search_space['stage_blocks'] == list(TINY.stage_blocks)
    assert header.constraint['max_macs'] == 41e6
    assert header.constraint['input_size'] == [224, 224]
    assert header.seed == 0
    assert header.metric == 'coco/bbox_mAP'
    assert header.algorithm['type'] == 'evolution'
    assert header.algorithm['population'] == 3


def test_best_json_is_the_fittest_candidate(searched):
    config, candidates = searched
    best = max(candidates, key=lambda one: (one['fitness'], -one['index']))
    with open(f'{config.work_dir}/best.json') as file:
        content = json.load(file)
    assert content == {
        'search_space': 'tiny',
        'metric': 'coco/bbox_mAP',
        'shuffle': 'grouped',
        **best,
    }


def test_best_backbone_is_used_as_it_was_searched(searched):
    config = searched[0]
    found = Config.fromfile(f'{config.work_dir}/best_backbone.py')
    inputs = config.model.data_preprocessor
    for name, value in found.searched_data_preprocessor.items():
        assert inputs[name] == value
    assert {'mean', 'std'} < set(found.searched_data_preprocessor)
    norm_cfg = config.model.backbone.norm_cfg
    assert found.searched_backbone.norm_cfg == norm_cfg


def test_same_seed_gives_the_same_record(searched, base, tmp_path):
    again = run_search(search_config(base, tmp_path))
    assert without_seconds(again) == without_seconds(searched[1])


def test_score_does_not_depend_on_what_came_before(searched, base, tmp_path):
    """Other order, another process state, loaded by a worker."""
    config = search_config(base, tmp_path)
    paths = [one['path'] for one in searched[1]]
    some = [paths[4], paths[0], paths[2]]
    config.val_cfg.update(algorithm='given', paths=some)
    config.val_dataloader.num_workers = 1
    candidates = run_search(config)
    assert {one['origin'] for one in candidates} == {'given'}
    assert [one['path'] for one in candidates] == some
    fitness = {one['path']: one['fitness'] for one in searched[1]}
    assert [one['fitness'] for one in candidates] == [
        fitness[path] for path in some
    ]


def test_random_search_draws_every_generation(searched, base, tmp_path):
    config = search_config(base, tmp_path)
    config.val_cfg.update(algorithm='random', seed=7)
    candidates = run_search(config)
    assert [one['origin'] for one in candidates] == ['random'] * 6
    assert len({one['path'] for one in candidates}) == 6
    assert candidates[0]['path'] != searched[1][0]['path']
    assert all(one['macs'] <= 41e6 for one in candidates)


def test_finished_search_evaluates_nothing_when_resumed(searched):
    config, candidates = deepcopy(searched)
    config.experiment_name += '_resumed'
    config.val_cfg.resume = True
    runner = Runner.from_cfg(config)
    validations = []
    hook = Hook()
    runner.register_hook(hook)
    hook.before_val = lambda runner: validations.append(runner)
    metrics = runner.val()
    assert not validations
    assert read_candidates(config.work_dir) == candidates
    best = max(candidates, key=lambda one: one['fitness'])
    assert metrics == best['metrics']


def test_bounds_can_be_those_of_the_whole_detector(base, tmp_path):
    config = search_config(base, tmp_path)
    config.val_cfg.update(generations=1, population=2)
    config.val_cfg.constraint = dict(max_macs=1e12, whole_detector=True)
    candidates = run_search(config)
    record = SearchRecord.read(tmp_path / 'search_record.jsonl')
    constraint = record.header.constraint
    assert constraint['input_size'] == [128, 128]
    assert constraint['rest_macs'] > 1e6
    assert constraint['rest_params'] > 1e5
    for one in candidates:
        path = TINY.parse(one['path'])
        assert one['macs'] == backbone_macs(TINY, path, (128, 128))


def test_sync_bn_of_a_config_becomes_bn(tmp_path):
    """No process waits for another one inside an evaluation."""
    records = []
    for norm in ('BN', 'SyncBN'):
        runner = toy_runner(tmp_path / norm, norm=norm, generations=1)
        layers = list(runner.model.modules())
        assert not [x for x in layers if isinstance(x, nn.SyncBatchNorm)]
        runner.val()
        records.append(without_seconds(read_candidates(runner.work_dir)))
    assert records[0] == records[1]
    assert {one['status'] for one in records[0]} == {'complete'}


def test_search_in_mixed_precision(base, tmp_path):
    """On a CPU that is bfloat16, which metrics cannot read."""
    config = search_config(base, tmp_path)
    config.val_cfg.update(fp16=True, generations=1)
    candidates = run_search(config)
    assert {one['status'] for one in candidates} == {'complete'}


def test_precision_that_the_device_does_not_have(base, tmp_path):
    config = search_config(base, tmp_path)
    config.val_cfg.update(fp16='float16', generations=1)
    with pytest.raises(ValueError, match="one of bfloat16, got 'float16'"):
        run_search(config)
