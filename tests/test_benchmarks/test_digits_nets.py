"""The ground truth of the digits: its networks and what they tell."""

import argparse
import json
import runpy
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from kit.digits_runs import ROOT

from detnas_mm.cost import backbone_macs, backbone_params
from detnas_mm.structures import SEARCH_SPACES
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
            assert abs(net['macs'] / 60e6 - 1) <= 0.02
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


def test_table_grows_where_it_was_stopped(tmp_path, monkeypatch):
    asked = []

    def train(paths, number, args, work_dir):
        asked.append(number)
        if asked == [0, 1]:
            raise KeyboardInterrupt
        return [
            SimpleNamespace(
                path=path, metrics={METRIC: 0.25, f'test/{METRIC}': number}
            )
            for path in reversed(paths)
        ]

    extend = TOOL['extend']
    monkeypatch.setitem(extend.__globals__, 'train', train)
    args = argparse.Namespace(file=tmp_path / 'nets.json', out=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        extend(args)
    extend(args)
    assert asked == [0, 1, 1, 2]
    for net in json.loads(args.file.read_text())['nets']:
        assert net['test_map'] == [0, 1, 2]
        assert net['search_map'] == [0.25] * 3


def test_table_of_another_recipe_is_refused(tmp_path):
    file = tmp_path / 'nets.json'
    file.write_text(json.dumps({'recipe': {}}))
    with pytest.raises(InputError, match='another recipe'):
        TOOL['read'](file)
