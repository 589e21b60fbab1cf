"""The tools that read the record of a search."""

import json
import runpy
import sys
from pathlib import Path

import pytest
from kit.records import candidate, header

from detnas_mm.structures import SEARCH_SPACES, SearchRecord

TOOLS = Path(__file__).parents[2] / 'tools' / 'analysis_tools'
PATHS = ('0000000000', '1111111111', '2222222222', '3333333333')


@pytest.fixture
def search(tmp_path):
    """Work dir of a search: three random paths, then a mutated one."""
    space = SEARCH_SPACES['tiny'].to_dict()
    folder = tmp_path / 'search'
    folder.mkdir()
    first = header(
        search_space=space,
        metric='coco/bbox_mAP',
        constraint={'input_size': [224, 224]},
    )
    with SearchRecord.open(folder / 'search_record.jsonl', first) as record:
        for index, path in enumerate(PATHS):
            record.append(
                candidate(
                    index,
                    path=path,
                    fitness=[0.5, 0.1, 0.3, 0.9][index],
                    origin='mutation' if index == 3 else 'random',
                )
            )
    return folder


def run(monkeypatch, capsys, tool, *arguments):
    """Runs a tool in this process; returns what it prints."""
    monkeypatch.setattr(sys, 'argv', [tool, *map(str, arguments)])
    runpy.run_path(str(TOOLS / tool), run_name='__main__')
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ('which', 'path'),
    [
        ('best', '3333333333'),
        ('median', '2222222222'),
        ('median-random', '2222222222'),
    ],
)
def test_picks_a_path(monkeypatch, capsys, search, which, path):
    printed = run(monkeypatch, capsys, 'pick_path.py', search, which)
    assert printed == path + '\n'


def test_compares_search_and_test(monkeypatch, capsys, search, tmp_path):
    log = tmp_path / 'test' / '20260101_000000'
    log.mkdir(parents=True)
    result = {'coco/bbox_mAP': 0.612, 'time': 1.0}
    (log / '20260101_000000.json').write_text(json.dumps(result))
    monkeypatch.setenv('COLUMNS', '120')
    printed = run(
        monkeypatch,
        capsys,
        'compare_nets.py',
        '--search',
        search,
        '--net',
        'found',
        '3333333333',
        tmp_path / 'test',
    )
    for part in ('found', '33 33 3333 33', '0.9000', '0.612'):
        assert part in printed


def test_a_net_without_test_is_named(monkeypatch, capsys, search, tmp_path):
    with pytest.raises(SystemExit) as exit_info:
        run(
            monkeypatch,
            capsys,
            'compare_nets.py',
            '--search',
            search,
            '--net',
            'found',
            '3333333333',
            tmp_path / 'nowhere',
        )
    assert exit_info.value.code == 2
    assert str(tmp_path / 'nowhere') in capsys.readouterr().err


def test_makes_a_report_of_searches(monkeypatch, capsys, search, tmp_path):
    """Of one that is running, too: its last line may be half written."""
    record = search / 'search_record.jsonl'
    running = tmp_path / 'running'
    running.mkdir()
    text = record.read_text()
    (running / record.name).write_text(text[:-20])
    printed = run(monkeypatch, capsys, 'search_report.py', search, running)
    page = search / 'report.html'
    assert f'{page}: open it' in printed
    assert '>33 33 3333 33<' in page.read_text()
    assert len(list((search / 'report').glob('*.png'))) == 11


def test_report_knows_the_published_networks_of_the_space(search):
    tool = runpy.run_path(str(TOOLS / 'search_report.py'), run_name='tool')
    references = tool['published_references']
    small = SEARCH_SPACES['small'].to_dict()
    found = references(
        header(search_space=small, constraint={'input_size': [224, 224]})
    )
    # Measured on the authors' networks.
    assert {one.name: one.macs for one in found} == {
        'detnas_fpn_300m': 288_082_368,
        'detnas_retinanet_300m': 291_205_824,
    }
    tiny = SEARCH_SPACES['tiny'].to_dict()
    assert references(header(search_space=tiny)) == []


def test_report_of_a_folder_without_search(monkeypatch, capsys, tmp_path):
    with pytest.raises(SystemExit) as exit_info:
        run(monkeypatch, capsys, 'search_report.py', tmp_path)
    assert exit_info.value.code == 2
    assert 'tools/search.py' in capsys.readouterr().err


def test_report_of_a_record(monkeypatch, capsys, search):
    record = search / 'search_record.jsonl'
    printed = run(monkeypatch, capsys, 'search_report.py', record)
    assert f'{search / "report.html"}: open it' in printed
