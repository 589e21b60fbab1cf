"""A search for the Pareto front, and the files of its points."""

import json
import signal

import pytest
from kit.digits_runs import read_candidates, without_seconds
from kit.records import candidate
from kit.results import results_of
from kit.search_process import RECORD, search, start
from kit.spaces import FOUR_BLOCKS
from kit.toy_search import toy_runner
from mmengine.config import Config

from detnas_mm.models import DetNASNet
from detnas_mm.structures import SearchRecord, pareto_front

COSTS = ['macs', 'params']


def nsga2(*objectives):
    """Settings of a search with several objectives."""
    algorithm = dict(type='NSGA2', population=4)
    return dict(objectives=list(objectives), algorithm=algorithm)


def read_front(work_dir):
    return json.loads((work_dir / 'front.json').read_text())


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pareto') / 'search'
    toy_runner(folder, **nsga2(*COSTS)).val()
    return folder


def test_front_has_the_candidates_that_none_dominates(work_dir):
    record = SearchRecord.read(work_dir / RECORD)
    assert record.header.algorithm['type'] == 'NSGA2'
    assert record.header.objectives == COSTS
    points = {
        c.path: (c.fitness, -c.macs, -c.params) for c in record.candidates
    }
    expected = {
        path
        for path, point in points.items()
        if not any(
            other != point
            and all(a >= b for a, b in zip(other, point, strict=True))
            for other in points.values()
        )
    }
    front = read_front(work_dir)
    assert {point['path'] for point in front} == expected
    macs = [point['macs'] for point in front]
    assert macs == sorted(macs)


def test_each_point_has_a_backbone_and_a_config(work_dir):
    front = read_front(work_dir)
    assert len(list((work_dir / 'front').iterdir())) == 2 * len(front)
    for point in front:
        file = work_dir / 'front' / f'{point["path"]}.json'
        net = DetNASNet(str(file), out_indices=(0, 1))
        assert FOUR_BLOCKS.format(net.path) == point['path']
        config = Config.fromfile(file.with_suffix('.py'))
        path = config.searched_backbone.path.replace(' ', '')
        assert path == point['path']


def test_metrics_may_be_objectives(tmp_path):
    """Two metrics that add up to one: no path dominates another."""
    toy_runner(tmp_path / 'search', **nsga2('toy/other')).val()
    candidates = read_candidates(tmp_path / 'search')
    front = read_front(tmp_path / 'search')
    assert {p['path'] for p in front} == {c['path'] for c in candidates}
    scores = [point['fitness'] for point in front]
    assert scores == sorted(scores)


def test_resume_after_half_of_the_record(work_dir, tmp_path):
    lines = (work_dir / RECORD).read_text().splitlines(True)
    half = tmp_path / 'search'
    half.mkdir()
    (half / RECORD).write_text(''.join(lines[:7]))
    toy_runner(
        half,
        checkpoint=work_dir.parent / 'toy.pth',
        resume=True,
        **nsga2(*COSTS),
    ).val()
    found, expected = read_candidates(half), read_candidates(work_dir)
    assert without_seconds(found) == without_seconds(expected)
    assert without_seconds(read_front(half)) == without_seconds(
        read_front(work_dir)
    )


# The first and the second front are written in between.
@pytest.mark.parametrize('passes', [4, 9])
def test_front_is_whole_wherever_the_search_is_killed(tmp_path, passes):
    work_dir = tmp_path / 'search'
    process = start(
        search, work_dir, death=('replace', passes), **nsga2('macs')
    )
    process.join()
    assert process.exitcode == -signal.SIGKILL
    if (work_dir / 'front.json').exists():
        for point in read_front(work_dir):
            file = work_dir / 'front' / f'{point["path"]}.json'
            assert json.loads(file.read_text()) == point
            assert Config.fromfile(file.with_suffix('.py')).searched_backbone
    process = start(search, work_dir, resume=True, **nsga2('macs'))
    process.join()
    assert process.exitcode == 0
    candidates = SearchRecord.read(work_dir / RECORD).candidates
    expected = {c.path for c in pareto_front(candidates, ['macs'])}
    assert {point['path'] for point in read_front(work_dir)} == expected
    files = {file.stem for file in (work_dir / 'front').iterdir()}
    assert files == expected


def test_files_of_an_older_front_are_removed(tmp_path):
    results = results_of(tmp_path, space=FOUR_BLOCKS, objectives=['macs'])
    cheap = candidate(0, path='0000', macs=1, fitness=0.1)
    expensive = candidate(1, path='3333', macs=2, fitness=0.2)
    results.write_front([cheap, expensive])
    assert len(list((tmp_path / 'front').glob('*.py'))) == 2
    better = candidate(2, path='1111', macs=1, fitness=0.3)
    results.write_front([better, expensive])
    assert len(list((tmp_path / 'front').glob('*.py'))) == 1
    results.remove()
    assert list(tmp_path.iterdir()) == []
