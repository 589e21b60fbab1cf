"""tools/search.py: its options, and one refusal of each kind in one line."""

import json

import pytest
import torch
from kit.command_lines import (
    SMALL_SEARCH,
    config_file,
    loading_options,
    run_here,
)
from kit.digits_runs import read_candidates

from detnas_mm.structures import SearchRecord

SEARCH = config_file('retinanet_detnas-search-tiny_fpn_digits')
ONE_GENERATION = [
    'val_cfg.generations=1',
    'val_cfg.algorithm.population=2',
    'val_cfg.constraint.max_macs=1e9',
]


@pytest.fixture
def command(digits, supernet, tmp_path):
    """Returns the command line of a small search."""

    def make(
        *args, config=SEARCH, checkpoint=supernet, options=(), name='search'
    ):
        return [
            *('search.py', config, checkpoint, '--work-dir', tmp_path / name),
            *(*args, '--cfg-options'),
            *loading_options(digits, 'train', 'val'),
            *(*SMALL_SEARCH, *ONE_GENERATION, *options),
        ]

    return make


@pytest.fixture
def search(command):
    return lambda *args, **kwargs: run_here(*command(*args, **kwargs))


@pytest.fixture
def error_line(command, refusal):
    return lambda *args, **kwargs: refusal(*command(*args, **kwargs))


def test_fixed_paths_are_scored_whatever_the_constraint(
    search, error_line, tmp_path
):
    best = tmp_path / 'best.json'
    result = dict(search_space='tiny', path='2222222222', shuffle='grouped')
    best.write_text(json.dumps(result))
    options = ['val_cfg.constraint.max_macs=1']
    search('--paths', '33 33 3333 33', best, options=options)
    candidates = read_candidates(tmp_path / 'search')
    assert [c['path'] for c in candidates] == ['3333333333', '2222222222']
    assert {c['origin'] for c in candidates} == {'fixed'}
    assert {c['generation'] for c in candidates} == {0}
    # The record of this search is never overwritten or mixed with another.
    assert '--resume' in error_line('--paths', '3333333333')
    record = tmp_path / 'search' / 'search_record.jsonl'
    before = record.read_bytes()
    line = error_line('--paths', '0123012302', '--resume', options=options)
    assert 'record of another search: algorithm.paths' in line
    assert record.read_bytes() == before


def test_options_of_the_algorithm(search, tmp_path):
    search('--algorithm', 'random', '--seed', 1, name='random')
    record = SearchRecord.read(tmp_path / 'random' / 'search_record.jsonl')
    assert record.header.algorithm['type'] == 'RandomSearch'
    assert record.header.seed == 1
    reuse = ['--algorithm', 'surrogate', '--reuse', tmp_path / 'random']
    search(*reuse, options=['val_cfg.patience=1'], name='reused')
    reused = SearchRecord.read(tmp_path / 'reused')
    assert reused.header.algorithm['type'] == 'SurrogateEvolution'
    origins = [c.origin for c in reused.candidates]
    assert origins[:2] == ['reused'] * 2
    assert len(origins) == 4
    objectives = ['coco/bbox_mAP', 'coco/bbox_mAP_50', 'macs']
    search('--objectives', *objectives)
    record = SearchRecord.read(tmp_path / 'search' / 'search_record.jsonl')
    assert record.header.metric == objectives[0]
    assert record.header.objectives == objectives[1:]
    assert record.header.algorithm['type'] == 'NSGA2'
    (point, *_) = json.loads((tmp_path / 'search' / 'front.json').read_text())
    assert (tmp_path / f'search/front/{point["path"]}.py').exists()


def test_options_that_do_not_fit_together(error_line):
    cases = {
        '`--paths`': ['--algorithm', 'random', '--paths', '0123012301'],
        'takes no `--reuse`': ['--reuse', 'there', '--paths', '0123012301'],
        '`--address` goes with': ['--address', 'localhost:1'],
        'no record of a search at there': ['--reuse', 'there'],
    }
    for reason, args in cases.items():
        assert reason in error_line(*args)


def test_settings_that_cannot_be_met(error_line, tmp_path):
    cases = {
        'no path keeps the bounds': 'val_cfg.constraint.max_macs=1',
        'choose one of coco/bbox_mAP, ': 'val_cfg.metric=coco/bbox_map',
    }
    for reason, option in cases.items():
        assert reason in error_line(options=[option])
    assert not (tmp_path / 'search' / 'search_record.jsonl').exists()
    training = config_file('retinanet_detnas-supernet-tiny_fpn_digits')
    assert 'EvolutionSearchLoop' in error_line(config=training)


def test_work_dir_that_cannot_be_written(error_line, tmp_path):
    (tmp_path / 'file').write_text('')
    line = error_line(name='file/search')
    assert f'cannot write to {tmp_path}/file/search' in line
    assert 'use another --work-dir' in line


def test_checkpoint_of_another_stage(error_line, tmp_path):
    cases = {
        'one network and no supernet': [
            *('backbone.blocks.0.main.0.weight', 'bbox_head.conv.weight')
        ],
        'a classifier and no detector': [
            *('backbone.blocks.0.0.main.0.weight', 'head.fc.weight')
        ],
    }
    file = tmp_path / 'other.pth'
    for held, keys in cases.items():
        weights = {key: torch.ones(1) for key in keys}
        torch.save(dict(state_dict=weights), file)
        line = error_line(checkpoint=file)
        assert 'a search takes the checkpoint of stage 2' in line
        assert f'{file}, which holds {held}, does not fit RetinaNet' in line


def test_checkpoint_with_a_missing_key(error_line, supernet, tmp_path):
    weights = torch.load(supernet)['state_dict']
    weights.pop('backbone.stem.0.weight')
    file = tmp_path / 'part.pth'
    torch.save(dict(state_dict=weights), file)
    line = error_line(checkpoint=file)
    assert '1 missing: backbone.stem.0.weight' in line
