"""tools/search.py: its options, and one refusal of each kind in one line."""

import json

import pytest
import torch
from kit.command_lines import (
    ALL_BOXES,
    RECALIBRATION,
    config_file,
    loading_options,
    run_here,
)
from kit.digits_runs import read_candidates

from detnas_mm.structures import SearchRecord

SEARCH = config_file('retinanet_detnas-search-tiny_fpn_digits')
LARGE = ['val_cfg.constraint.max_macs=1e9']


@pytest.fixture
def search(digits, supernet, tmp_path):
    """Runs a small search; returns its candidates."""

    def run(
        *args, config=SEARCH, checkpoint=supernet, options=(), name='search'
    ):
        run_here(
            'search.py',
            config,
            checkpoint,
            '--work-dir',
            tmp_path / name,
            *args,
            '--cfg-options',
            *loading_options(digits, 'train', 'val'),
            *RECALIBRATION,
            *ALL_BOXES,
            'val_cfg.generations=1',
            'val_cfg.algorithm.population=2',
            'val_cfg.algorithm.parents=2',
            *options,
        )
        return read_candidates(tmp_path / name)

    return run


@pytest.fixture
def error_line(search, capsys):
    """Runs a search that is refused; returns the line with the reason."""

    def fail(*args, **kwargs):
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            search(*args, **kwargs)
        assert caught.value.code == 2
        lines = capsys.readouterr().err.splitlines()
        assert 'Traceback' not in ''.join(lines)
        (line,) = [line for line in lines if line.startswith('error: ')]
        return line

    return fail


def test_fixed_paths_are_scored_whatever_the_constraint(search, tmp_path):
    best = tmp_path / 'best.json'
    result = dict(search_space='tiny', path='2222222222', shuffle='grouped')
    best.write_text(json.dumps(result))
    candidates = search(
        '--paths',
        '33 33 3333 33',
        best,
        options=['val_cfg.constraint.max_macs=1'],
    )
    assert [c['path'] for c in candidates] == ['3333333333', '2222222222']
    assert {c['origin'] for c in candidates} == {'fixed'}
    assert {c['generation'] for c in candidates} == {0}


def test_seed_and_algorithm_are_options(search):
    random = search('--algorithm', 'random', options=LARGE, name='a')
    other = search(
        '--algorithm', 'random', '--seed', '1', options=LARGE, name='b'
    )
    assert random[0]['path'] != other[0]['path']


def test_front_is_searched_for(search, tmp_path):
    objectives = ['coco/bbox_mAP', 'coco/bbox_mAP_50', 'macs']
    search('--objectives', *objectives, options=LARGE)
    record = SearchRecord.read(tmp_path / 'search' / 'search_record.jsonl')
    assert record.header.metric == objectives[0]
    assert record.header.objectives == objectives[1:]
    assert record.header.algorithm['type'] == 'NSGA2'
    (point, *_) = json.loads((tmp_path / 'search' / 'front.json').read_text())
    assert (tmp_path / f'search/front/{point["path"]}.py').exists()


@pytest.mark.parametrize(
    ('args', 'reason'),
    [
        (['--algorithm', 'random', '--paths', '0123012301'], '`--paths`'),
        (['--paths', 'detnas_fpn_300m'], 'detnas_fpn_300m is a path of '),
        (['--objectives', 'coco/bbox_mAP'], 'at least one cost'),
        (['--address', 'localhost:1'], '`--address` goes with'),
        (['--launcher', 'pytorch'], 'RANK'),
    ],
)
def test_options_that_do_not_fit_together(error_line, args, reason):
    assert reason in error_line(*args)


@pytest.mark.parametrize(
    ('option', 'reason'),
    [
        ('val_cfg.population=3', 'algorithm=dict('),
        ('val_cfg.constraint.max_macs=1', 'no path keeps the bounds'),
        ('val_cfg.metric=coco/bbox_map', 'choose one of coco/bbox_mAP, '),
        (
            'val_dataloader.dataset.data_root=data/nowhere/',
            'data/nowhere/annotations/instances_search.json; ',
        ),
    ],
)
def test_settings_that_cannot_be_met(error_line, tmp_path, option, reason):
    assert reason in error_line(options=[option])
    assert not (tmp_path / 'search' / 'search_record.jsonl').exists()


def test_metric_of_an_evaluator_whose_metrics_are_not_known_before(error_line):
    line = error_line(
        options=[
            'val_cfg.metric=coco/bbox_map',
            'val_evaluator.classwise=True',
        ]
    )
    assert "no 'coco/bbox_map', choose one of" in line


def test_existing_search_and_another_search_are_refused(
    search, error_line, tmp_path
):
    search('--paths', '0123012301')
    assert '--resume' in error_line('--paths', '0123012301')
    record = tmp_path / 'search' / 'search_record.jsonl'
    before = record.read_bytes()
    line = error_line('--paths', '0123012302', '--resume')
    assert 'record of another search: algorithm.paths' in line
    assert record.read_bytes() == before


def test_work_dir_that_cannot_be_written(error_line, tmp_path):
    (tmp_path / 'file').write_text('')
    line = error_line(name='file/search')
    assert f'cannot write to {tmp_path}/file/search' in line
    assert 'use another --work-dir' in line


@pytest.mark.parametrize(
    ('keys', 'held'),
    [
        (
            ['backbone.blocks.0.main.0.weight', 'bbox_head.conv.weight'],
            'one network and no supernet',
        ),
        (
            ['backbone.blocks.0.0.main.0.weight', 'head.fc.weight'],
            'a classifier and no detector',
        ),
    ],
)
def test_checkpoint_of_another_stage(error_line, tmp_path, keys, held):
    file = tmp_path / 'other.pth'
    weights = {key: torch.ones(1) for key in keys}
    torch.save(dict(state_dict=weights), file)
    line = error_line(checkpoint=file)
    assert line.startswith('error: a search takes the checkpoint of stage 2')
    assert f'{file}, which holds {held}, does not fit RetinaNet' in line


def test_checkpoint_with_a_missing_key(error_line, supernet, tmp_path):
    weights = torch.load(supernet)['state_dict']
    weights.pop('backbone.stem.0.weight')
    file = tmp_path / 'part.pth'
    torch.save(dict(state_dict=weights), file)
    line = error_line(checkpoint=file)
    assert '1 missing: backbone.stem.0.weight' in line


def test_files_that_are_not_what_they_should_be(error_line, tmp_path):
    file = tmp_path / 'text.pth'
    file.write_text('no checkpoint')
    assert 'not a checkpoint' in error_line(checkpoint=file)
    absent = tmp_path / 'absent.pth'
    assert 'no checkpoint at' in error_line(checkpoint=absent)
    assert 'no config' in error_line(config=tmp_path / 'absent.py')
    training = config_file('retinanet_detnas-supernet-tiny_fpn_digits')
    assert 'EvolutionSearchLoop' in error_line(config=training)
