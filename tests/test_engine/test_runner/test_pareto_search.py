"""A search for the whole front, and the files of its points."""

import json
import signal

import pytest
from kit.records import candidate
from kit.results import results_of
from kit.search_process import search, start
from kit.spaces import FOUR_BLOCKS
from kit.toy_search import toy_runner
from mmengine.config import Config

from detnas_mm.models import DetNASNet
from detnas_mm.structures import SearchRecord, pareto_front


def read(work_dir):
    record = SearchRecord.read(work_dir / 'search_record.jsonl')
    return record.header, record.candidates


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pareto') / 'search'
    toy_runner(folder, minimise=['macs', 'params']).val()
    return folder


def test_front_has_what_none_beats(work_dir):
    header, candidates = read(work_dir)
    assert header.algorithm['type'] == 'nsga2'
    assert header.algorithm['minimise'] == ['macs', 'params']
    points = {c.path: (c.fitness, -c.macs, -c.params) for c in candidates}
    front = json.loads((work_dir / 'front.json').read_text())
    expected = {
        path
        for path, point in points.items()
        if not any(
            other != point
            and all(a >= b for a, b in zip(other, point, strict=True))
            for other in points.values()
        )
    }
    assert {one['path'] for one in front} == expected
    assert [one['macs'] for one in front] == sorted(o['macs'] for o in front)


def test_each_point_is_a_backbone_and_a_config(work_dir):
    front = json.loads((work_dir / 'front.json').read_text())
    files = sorted((work_dir / 'front').iterdir())
    assert len(files) == 2 * len(front)
    for one in front:
        file = work_dir / 'front' / f'{one["path"]}.json'
        net = DetNASNet(str(file), out_indices=(0, 1))
        assert FOUR_BLOCKS.format(net.path) == one['path']
        config = Config.fromfile(file.with_suffix('.py'))
        path = config.searched_backbone.path.replace(' ', '')
        assert path == one['path']


def test_metrics_may_be_objectives(tmp_path):
    """Of two that add up to one, no path beats another."""
    toy_runner(tmp_path / 'search', maximise=['toy/other']).val()
    header, candidates = read(tmp_path / 'search')
    assert header.algorithm['type'] == 'nsga2'
    assert header.algorithm['maximise'] == ['toy/other']
    front = json.loads((tmp_path / 'search' / 'front.json').read_text())
    assert {one['path'] for one in front} == {one.path for one in candidates}
    scores = [one['fitness'] for one in front]
    assert scores == sorted(scores)


def test_it_is_gone_on_with(work_dir, tmp_path):
    """Half of the record gives the same search again."""
    lines = (work_dir / 'search_record.jsonl').read_text().splitlines(True)
    half = tmp_path / 'search'
    half.mkdir()
    (half / 'search_record.jsonl').write_text(''.join(lines[:7]))
    checkpoint = work_dir.parent / 'toy.pth'
    toy_runner(
        half, minimise=['macs', 'params'], resume=True, checkpoint=checkpoint
    ).val()
    paths = [one.path for one in read(work_dir)[1]]
    assert [one.path for one in read(half)[1]] == paths


def killed(work_dir, place, passes):
    """Begins a search for the front, and kills it somewhere."""
    settings = dict(minimise=['macs'], death=(place, passes))
    process = start(search, work_dir, **settings)
    process.join()
    assert process.exitcode == -signal.SIGKILL


def assert_front_is_that_of(candidates, work_dir):
    """With all files that it names, and no other."""
    front = json.loads((work_dir / 'front.json').read_text())
    expected = pareto_front(candidates, ['macs'])
    assert [one['path'] for one in front] == [one.path for one in expected]
    files = {file.name for file in (work_dir / 'front').iterdir()}
    assert files == {
        f'{one.path}.{kind}' for one in expected for kind in ('json', 'py')
    }


def test_killed_search_has_the_front_of_its_last_generation(tmp_path):
    killed(tmp_path / 'search', 'write', 10)
    candidates = read(tmp_path / 'search')[1]
    assert len(candidates) == 9
    assert_front_is_that_of(candidates[:8], tmp_path / 'search')
    process = start(
        search, tmp_path / 'search', minimise=['macs'], resume=True
    )
    process.join()
    assert process.exitcode == 0
    candidates = read(tmp_path / 'search')[1]
    assert_front_is_that_of(candidates, tmp_path / 'search')


# The first front and the second one are written from one to the other.
@pytest.mark.parametrize('passes', [4, 6, 8, 10, 12])
def test_front_is_whole_wherever_the_search_is_killed(tmp_path, passes):
    work_dir = tmp_path / 'search'
    killed(work_dir, 'replace', passes)
    if not (work_dir / 'front.json').exists():
        assert len(read(work_dir)[1]) == 4
        return
    for one in json.loads((work_dir / 'front.json').read_text()):
        file = work_dir / 'front' / f'{one["path"]}.json'
        assert json.loads(file.read_text()) == one
        assert Config.fromfile(file.with_suffix('.py')).searched_backbone


def test_files_of_an_older_front_are_removed(tmp_path):
    results = results_of(tmp_path, space=FOUR_BLOCKS, minimise=['macs'])
    cheap = candidate(0, path='0000', macs=1, fitness=0.1)
    dear = candidate(1, path='3333', macs=2, fitness=0.2)
    results.write_front([cheap, dear])
    assert len(list((tmp_path / 'front').glob('*.py'))) == 2
    better = candidate(2, path='1111', macs=1, fitness=0.3)
    results.write_front([better, dear])
    assert len(list((tmp_path / 'front').glob('*.py'))) == 1
    results.remove()
    assert list(tmp_path.iterdir()) == []
