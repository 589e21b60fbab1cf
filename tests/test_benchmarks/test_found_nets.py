"""Searches whose networks join the ground truth."""

import json
import runpy
import sys

import pytest
from kit.digits_runs import ROOT
from kit.records import candidate, header

from detnas_mm.structures import RECORD, SearchRecord
from detnas_mm.utils.errors import InputError

sys.path.insert(0, str(ROOT / 'benchmarks'))
STUDY = runpy.run_path(str(ROOT / 'benchmarks/found_nets.py'))
sys.path.pop(0)
METRIC = STUDY['digits_nets'].METRIC
FOUND = ('0002221333111', '1112211113000', '0002221333111')
EVEN, RANDOM = '1231231233123', '0000000000000'


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command; searches are replaced by what they find."""

    def write(folder, maps):
        folder.mkdir(parents=True, exist_ok=True)
        with SearchRecord.open(folder / RECORD, header()) as record:
            for index, (path, value) in enumerate(maps.items()):
                metrics = {METRIC: value, f'test/{METRIC}': value + 0.01}
                record.append(
                    candidate(index, path=path, fitness=value, metrics=metrics)
                )

    def finalists(tool, folder, *options, processes):
        seed = int(folder.name.removeprefix('search_seed'))
        write(folder, {FOUND[seed]: 0.4})
        names = {FOUND[seed]: 'search, 1', EVEN: 'even', RANDOM: 'random'}
        maps = {FOUND[seed]: 0.7 + seed / 100, EVEN: 0.705, RANDOM: 0.65}
        write(folder / 'finalists', maps)
        text = json.dumps(names)
        (folder / 'finalists/nets.json').write_text(text)

    names = STUDY['find'].__globals__
    monkeypatch.setitem(names, 'run_search', lambda *_: None)
    monkeypatch.setitem(names, 'run_tool', finalists)
    table = tmp_path / 'nets.json'
    table.write_text(json.dumps(names['digits_nets'].begin()))
    files = ['--file', table, '--found', tmp_path / 'found.json']

    def run(*command):
        options = []
        if command:
            options = [*command, '--searches', 3, '--out', tmp_path]
        arguments = ['found_nets.py', *files, *options]
        monkeypatch.setattr(sys, 'argv', list(map(str, arguments)))
        STUDY['main']()
        return json.loads(table.read_text())['nets']

    return run


def test_found_and_even_networks_join_the_table(
    run, monkeypatch, tmp_path, capsys
):
    used = []
    names = STUDY['find'].__globals__['rank_study'].__dict__
    monkeypatch.setitem(names, 'last_checkpoint', used.append)
    with pytest.raises(InputError, match='search WAY'):
        run()
    with pytest.raises(InputError, match='rank_study.py score'):
        run('search', 'uneven')
    monkeypatch.setitem(
        names, 'last_checkpoint', lambda folder: used.append(folder) or 'file'
    )
    nets = run('search', 'uneven')
    # The supernets take turns.
    seeds = [folder.parent.name[-2:] for folder in used[1:]]
    assert seeds == ['10', '11', '10']
    added = {net['path']: net for net in nets[64:]}
    groups = [net['group'] for net in added.values()]
    assert groups == ['found, uneven'] * 2 + ['even']
    assert list(added) == [FOUND[0], FOUND[1], EVEN]
    assert all(net['test_map'] == [] for net in added.values())
    capsys.readouterr()
    run()
    printed = capsys.readouterr().out
    assert f'{FOUND[1]} 0.710 (0.720)' in printed
    # 0.700, 0.710 and 0.720 against 0.705 and 0.650.
    assert 'even network by +0.0050 in the mean and in 2 of 3' in printed
    assert 'of the random one by +0.0600 and in 3' in printed
    # A second table needs another file; that is said before the searches.
    monkeypatch.setitem(STUDY['find'].__globals__, 'find', None)
    with pytest.raises(InputError, match="has a group 'found, uneven'"):
        run('search', 'uneven')


def test_another_way_joins_with_what_it_alone_found(run, monkeypatch):
    names = STUDY['find'].__globals__['rank_study'].__dict__
    monkeypatch.setitem(names, 'last_checkpoint', lambda folder: 'file')
    nets = run('search', 'uneven')
    monkeypatch.setitem(
        STUDY['find'].__globals__,
        'find',
        lambda supernet, seed, _: {
            'way': 'uniform',
            'nets': [
                {
                    'name': 'search, 1',
                    'path': (*FOUND[:2], '0002221333113')[seed],
                }
            ],
        },
    )
    new = run('search', 'uniform')[len(nets) :]
    assert [(net['group'], net['path']) for net in new] == [
        ('found, uniform', '0002221333113')
    ]
