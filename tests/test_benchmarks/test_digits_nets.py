"""The ground truth of the digits: its networks and what they tell."""

import argparse
import json
import runpy
import sys

import numpy as np
import pytest
from kit.digits_runs import ROOT
from kit.records import candidate, header

from detnas_mm.cost import backbone_macs, backbone_params
from detnas_mm.structures import RECORD, SEARCH_SPACES, SearchRecord
from detnas_mm.utils.errors import InputError

sys.path.insert(0, str(ROOT / 'benchmarks'))
TOOL = runpy.run_path(str(ROOT / 'benchmarks/digits_nets.py'))
sys.path.pop(0)
METRIC = TOOL['METRIC']
SPACE = SEARCH_SPACES['elastic_tiny']


def test_networks_of_the_table():
    nets = TOOL['draw_nets'](SPACE)
    assert TOOL['draw_nets'](SPACE) == nets
    assert len({net['path'] for net in nets}) == 64
    for net in nets:
        path = SPACE.parse(net['path'])
        assert net['macs'] == backbone_macs(SPACE, path)
        assert net['params'] == backbone_params(SPACE, path)
        if net['group'] == 'band':
            assert abs(net['macs'] / 22e6 - 1) <= 0.02
    for group, count in (('band', 48), ('free', 16)):
        members = [net for net in nets if net['group'] == group]
        assert len(members) == count
        assert sum(net['uneven'] for net in members) == count / 2


def test_variance_is_divided_between_networks_and_trainings():
    """As an analysis of variance with random effects of both."""
    rng = np.random.default_rng(0)
    nets, supernets = rng.normal(0, 0.03, (4000, 1)), [[0.1, 0.3, 0.2]]
    results = nets + supernets + rng.normal(0, 0.02, (4000, 3))
    variance = TOOL['Variance'].of(results)
    assert variance.architecture**0.5 == pytest.approx(0.03, rel=0.05)
    assert variance.seed**0.5 == pytest.approx(0.02, rel=0.05)
    assert variance.share(1) == pytest.approx(9 / 13, abs=0.02)
    assert variance.share(3) == pytest.approx(27 / 31, abs=0.02)


def stand_in(monkeypatch, limit=None):
    """Replaces trainings by numbers; the first call trains `limit` networks.

    Returns:
        The options of each call.
    """
    calls = []

    def train_supernet(folder, seed, data, options, epochs):
        return folder / 'epoch_5.pth'

    def run_search(config, supernet, work_dir, options, processes):
        calls.append(options)
        split = options.index('--cfg-options')
        seed = int(work_dir.parent.name.removeprefix('seed'))
        count = limit if len(calls) == 1 else None
        work_dir.mkdir(parents=True, exist_ok=True)
        with SearchRecord.open(work_dir / RECORD, header()) as record:
            done = len(record.candidates)
            paths = list(enumerate(options[1:split][:count]))
            for index, path in paths[done:]:
                metrics = {METRIC: 0.25, f'test/{METRIC}': seed / 10}
                record.append(candidate(index, path=path, metrics=metrics))
        if count:
            raise KeyboardInterrupt

    names = TOOL['extend'].__globals__
    monkeypatch.setitem(names, 'train_supernet', train_supernet)
    monkeypatch.setitem(names, 'run_search', run_search)
    return calls


def test_table_grows_where_it_was_stopped(tmp_path, monkeypatch):
    calls = stand_in(monkeypatch, limit=40)
    args = argparse.Namespace(
        file=tmp_path / 'nets.json', out=tmp_path, data=tmp_path, processes=1
    )
    with pytest.raises(KeyboardInterrupt):
        TOOL['extend'](args)
    nets = json.loads(args.file.read_text())['nets']
    assert [len(net['test_map']) for net in nets] == [1] * 40 + [0] * 24
    TOOL['extend'](args)
    assert len(calls) == 1 + 2 * 3  # two groups, three supernets
    for net in json.loads(args.file.read_text())['nets']:
        assert net['test_map'] == [0, 0.1, 0.2]
        assert net['search_map'] == [0.25] * 3
    TOOL['extend'](args)
    assert len(calls) == 7


def test_added_networks_are_trained_and_placed(tmp_path, monkeypatch, capsys):
    calls = stand_in(monkeypatch)
    args = argparse.Namespace(
        file=tmp_path / 'nets.json', out=tmp_path, data=tmp_path, processes=1,
        group='found', paths=['000 222 1333 111', '020 020 0200 020'],
        split='test',
    )  # fmt: skip
    with pytest.raises(InputError, match='begin it by'):
        TOOL['add'](args)
    TOOL['extend'](args)
    TOOL['add'](args)
    TOOL['extend'](args)
    assert len(calls) == 2 * 3 + 3
    with pytest.raises(InputError, match="group 'found'"):
        TOOL['add'](args)
    TOOL['report'](args)
    printed = capsys.readouterr().out
    assert '48 x 3' in printed
    # Each training has the same result here, so none is below.
    for digits in ('0002221333111', '0200200200020'):
        (row,) = (line for line in printed.splitlines() if digits in line)
        assert row.split('│')[5].strip() == '100.0'


def test_table_of_another_recipe_is_refused(tmp_path):
    file = tmp_path / 'nets.json'
    file.write_text(json.dumps({'recipe': {}}))
    with pytest.raises(InputError, match='another recipe'):
        TOOL['read'](file)
