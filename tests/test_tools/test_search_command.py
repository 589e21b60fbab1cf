"""tools/search.py: its options, and its one-line errors."""

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
from mmengine.runner import Runner

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
            'val_cfg.population=2',
            'val_cfg.parents=2',
            *options,
        )
        return read_candidates(tmp_path / name)

    return run


def error_line(search, capsys, *args, **kwargs):
    """The one line with which the command ends, with exit code 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        search(*args, **kwargs)
    assert caught.value.code == 2
    lines = [
        line
        for line in capsys.readouterr().err.splitlines()
        if 'Warning' not in line and not line.startswith('  ')
    ]
    assert len(lines) == 1
    assert lines[0].startswith('error: ')
    return lines[0]


def test_given_paths_are_scored_whatever_the_constraint(search):
    paths = ['33 33 3333 33', '0123012301']
    candidates = search(
        '--paths', *paths, options=['val_cfg.constraint.max_macs=1']
    )
    assert [one['path'] for one in candidates] == ['3333333333', '0123012301']
    assert {one['origin'] for one in candidates} == {'given'}
    assert {one['generation'] for one in candidates} == {0}


def test_given_paths_are_those_of_searches(search, tmp_path, capsys):
    best = tmp_path / 'best.json'
    result = dict(search_space='tiny', path='3333333333', shuffle='grouped')
    best.write_text(json.dumps(result))
    (candidate,) = search('--paths', best)
    assert candidate['path'] == '3333333333'
    line = error_line(
        search, capsys, '--paths', 'detnas_fpn_300m', name='other'
    )
    assert 'detnas_fpn_300m is a path of ' in line


def test_given_paths_have_no_algorithm(search, capsys):
    line = error_line(
        search, capsys, '--algorithm', 'random', '--paths', '0123012301'
    )
    assert '`--algorithm random`' in line


def test_seed_and_algorithm_are_options(search):
    random = search('--algorithm', 'random', options=LARGE, name='a')
    other = search(
        '--algorithm', 'random', '--seed', '1', options=LARGE, name='b'
    )
    assert random[0]['path'] != other[0]['path']


def test_existing_search_is_refused_in_one_line(search, tmp_path, capsys):
    work_dir = tmp_path / 'search'
    work_dir.mkdir()
    (work_dir / 'search_record.jsonl').write_text('')
    line = error_line(search, capsys)
    assert '--resume' in line


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (dict(version=1), 'another version of detnas_mm'),
        (dict(checkpoint_digest='0'), "checkpoint_digest: '0' there"),
        (dict(config_digest='0', config='{}'), 'config.'),
    ],
)
def test_refused_resume_leaves_the_work_dir_as_it_was(
    search, tmp_path, capsys, change, reason
):
    search('--paths', '0123012301')
    folder = tmp_path / 'search'
    record = folder / 'search_record.jsonl'
    header, *candidates = record.read_text().splitlines()
    header = json.loads(header) | change
    del header['crc32']
    record.write_text('\n'.join([json.dumps(header), *candidates, '']))
    before = contents(folder)
    line = error_line(search, capsys, '--paths', '0123012301', '--resume')
    assert reason in line
    assert contents(folder) == before


def contents(folder):
    return {
        file: file.read_bytes() if file.is_file() else None
        for file in folder.rglob('*')
    }


def test_work_dir_that_cannot_be_written(search, tmp_path, capsys):
    """Said before the detector is built."""
    (tmp_path / 'file').write_text('')
    line = error_line(search, capsys, name='file/search')
    assert f'cannot write to {tmp_path}/file/search' in line
    assert 'use another --work-dir' in line


def test_checkpoint_with_a_missing_key(search, supernet, tmp_path, capsys):
    weights = torch.load(supernet)['state_dict']
    weights.pop('backbone.stem.0.weight')
    file = tmp_path / 'part.pth'
    torch.save(dict(state_dict=weights), file)
    line = error_line(search, capsys, checkpoint=file)
    assert '1 missing: backbone.stem.0.weight' in line


def test_checkpoint_of_another_space(search, capsys):
    line = error_line(
        search,
        capsys,
        options=[
            'model.backbone.search_space=small',
            'model.neck.in_channels=64,160,320,640',
        ],
    )
    assert 'does not fit RetinaNet' in line


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
def test_checkpoint_of_another_stage(search, tmp_path, capsys, keys, held):
    file = tmp_path / 'other.pth'
    weights = {key: torch.ones(1) for key in keys}
    torch.save(dict(state_dict=weights), file)
    line = error_line(search, capsys, checkpoint=file)
    assert line.startswith('error: a search takes the checkpoint of stage 2')
    assert f'{file}, which holds {held}, does not fit RetinaNet' in line


def test_checkpoint_that_is_none(search, tmp_path, capsys):
    file = tmp_path / 'text.pth'
    file.write_text('no checkpoint')
    assert 'not a checkpoint' in error_line(search, capsys, checkpoint=file)
    absent = tmp_path / 'absent.pth'
    assert 'no checkpoint at' in error_line(search, capsys, checkpoint=absent)


def test_processes_of_a_job_say_it_before_they_meet(
    search, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(Runner, 'from_cfg', None)
    absent = tmp_path / 'absent.pth'
    line = error_line(
        search, capsys, '--launcher', 'pytorch', checkpoint=absent
    )
    assert 'no checkpoint at' in line


def test_config_that_is_none(search, capsys, tmp_path):
    line = error_line(search, capsys, config=tmp_path / 'absent.py')
    assert 'no config at' in line


def test_config_of_a_training(search, capsys):
    config = config_file('retinanet_detnas-supernet-tiny_fpn_digits')
    line = error_line(search, capsys, config=config)
    assert 'EvolutionSearchLoop' in line


def test_impossible_bounds(search, capsys):
    line = error_line(
        search, capsys, options=['val_cfg.constraint.max_macs=1']
    )
    assert 'no path keeps the bounds' in line


def test_unknown_metric(search, capsys, tmp_path):
    """Said before the work begins, where the evaluator is COCO's."""
    line = error_line(search, capsys, options=['val_cfg.metric=coco/bbox_map'])
    assert "no 'coco/bbox_map'; did you mean coco/bbox_mAP" in line
    line = error_line(search, capsys, options=['val_cfg.metric=top1'])
    assert 'choose one of coco/bbox_mAP, coco/bbox_mAP_50, ' in line
    line = error_line(search, capsys, '--objectives', 'coco/bbox_mAP', 'm/AP')
    assert "no 'm/AP'" in line
    assert not (tmp_path / 'search' / 'search_record.jsonl').exists()


def test_unknown_metric_of_an_evaluator_that_does_not_tell(search, capsys):
    line = error_line(
        search,
        capsys,
        options=[
            'val_cfg.metric=coco/bbox_map',
            'val_evaluator.classwise=True',
        ],
    )
    assert "no 'coco/bbox_map', choose one of" in line
    assert 'coco/bbox_mAP_50' in line


def test_data_that_are_not_there(search, capsys):
    root = 'val_dataloader.dataset.data_root=data/nowhere/'
    line = error_line(search, capsys, options=[root])
    assert 'data/nowhere/annotations/instances_search.json; ' in line


def test_front_is_searched_for(search, tmp_path):
    objectives = ['coco/bbox_mAP', 'coco/bbox_mAP_50', 'macs']
    search('--objectives', *objectives, options=LARGE)
    record = SearchRecord.read(tmp_path / 'search' / 'search_record.jsonl')
    assert record.header.metric == objectives[0]
    assert record.header.algorithm['maximise'] == objectives[1:2]
    assert record.header.algorithm['minimise'] == objectives[2:]
    (point, *_) = json.loads((tmp_path / 'search' / 'front.json').read_text())
    assert (tmp_path / f'search/front/{point["path"]}.py').exists()


def test_objectives_need_a_cost(search, capsys):
    line = error_line(search, capsys, '--objectives', 'coco/bbox_mAP')
    assert 'at least one cost' in line
    for name in ('MAC', 'flops'):
        line = error_line(
            search, capsys, '--objectives', 'coco/bbox_mAP', name
        )
        assert f'{name!r}, did you mean macs?' in line
