"""Searches whose networks join the ground truth."""

import json
import runpy
import sys

import pytest
from kit.digits_runs import ROOT

from detnas_mm.utils.errors import InputError

sys.path.insert(0, str(ROOT / 'benchmarks'))
STUDY = runpy.run_path(str(ROOT / 'benchmarks/found_nets.py'))
sys.path.pop(0)
FOUND = ('0002221333111', '1112211113000', '0002221333111')


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command; searches are replaced by what they find."""

    def finalists(tool, folder, *options, processes):
        seed = int(folder.name.removeprefix('search_seed'))
        (folder / 'finalists').mkdir(parents=True)
        best = folder / 'finalists/best.json'
        best.write_text(json.dumps({'path': FOUND[seed]}))

    names = STUDY['find'].__globals__
    monkeypatch.setitem(names, 'run_search', lambda *_: None)
    monkeypatch.setitem(names, 'run_tool', finalists)
    table = tmp_path / 'nets.json'
    options = ['--searches', '3', '--file', table, '--out', tmp_path]

    def run(way='uneven'):
        command = ['found_nets.py', way, *map(str, options)]
        monkeypatch.setattr(sys, 'argv', command)
        STUDY['main']()
        return json.loads(table.read_text())['nets']

    return run


def test_found_and_even_networks_join_the_table(run, monkeypatch, tmp_path):
    used = []
    names = STUDY['find'].__globals__
    names = names['rank_study'].__dict__
    monkeypatch.setitem(names, 'last_checkpoint', used.append)
    with pytest.raises(InputError, match='rank_study.py score'):
        run()
    monkeypatch.setitem(
        names, 'last_checkpoint', lambda folder: used.append(folder) or 'file'
    )
    nets = run()
    # The supernets take turns.
    seeds = [folder.parent.name[-2:] for folder in used[1:]]
    assert seeds == ['10', '11', '10']
    added = {net['path']: net for net in nets[64:]}
    groups = [net['group'] for net in added.values()]
    assert groups == ['found, uneven'] * 2 + ['even']
    assert list(added)[:2] == [FOUND[0], FOUND[1]]
    assert abs(nets[-1]['macs'] / 22e6 - 1) < 0.05
    assert all(net['test_map'] == [] for net in added.values())
    # Another way joins with what it alone found.
    monkeypatch.setitem(
        STUDY['find'].__globals__,
        'find',
        lambda supernet, seed, _: (*FOUND[:2], '0002221333113')[seed],
    )
    assert [
        (net['group'], net['path']) for net in run('uniform')[len(nets) :]
    ] == [('found, uniform', '0002221333113')]
    # A second table needs another file; that is said before the searches.
    monkeypatch.setitem(STUDY['find'].__globals__, 'find', None)
    with pytest.raises(InputError, match="has a group 'found, uniform'"):
        run('uniform')
