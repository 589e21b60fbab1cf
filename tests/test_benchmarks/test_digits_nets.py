"""The ground truth of the digits: its networks and what they tell."""

import argparse
import json
import runpy
import sys

import numpy as np
import pytest
from kit.digits_runs import ROOT, digits_folder
from mmengine.config import Config

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


def test_network_is_trained_in_both_stages(base, tmp_path, monkeypatch):
    def read_small(file):
        config = Config.fromfile(file)
        for hook in config.get('custom_hooks', ()):
            hook.num_images = 8
        return config

    small = argparse.Namespace(fromfile=read_small)
    monkeypatch.setitem(TOOL['_runner'].__globals__, 'Config', small)
    data = digits_folder(base)
    maps = TOOL['train']('0' * 13, 0, data, tmp_path)
    assert all(0 <= value <= 1 for value in maps)
    log = (tmp_path / f'{"0" * 13}_seed0.log').read_text()
    assert 'accuracy/top1' not in log  # validated after the last stage alone
    assert 'load backbone. in model from' in log
    # Same seed, same result.
    assert TOOL['train']('0' * 13, 0, data, tmp_path) == maps


def test_table_grows_where_it_was_stopped(tmp_path, monkeypatch):
    asked = []

    def train_all(jobs, args):
        asked.append(len(jobs))
        for number, (path, seed) in enumerate(jobs):
            if len(asked) == 1 and number == 70:
                raise KeyboardInterrupt
            yield path, seed, (0.25, seed / 10)

    extend = TOOL['extend']
    monkeypatch.setitem(extend.__globals__, 'train_all', train_all)
    args = argparse.Namespace(file=tmp_path / 'nets.json')
    with pytest.raises(KeyboardInterrupt):
        extend(args)
    extend(args)
    assert asked == [3 * 64, 3 * 64 - 70]
    for net in json.loads(args.file.read_text())['nets']:
        assert net['test_map'] == [0, 0.1, 0.2]
        assert net['search_map'] == [0.25] * 3


def test_table_of_another_recipe_is_refused(tmp_path):
    file = tmp_path / 'nets.json'
    file.write_text(json.dumps({'recipe': {}}))
    with pytest.raises(InputError, match='another recipe'):
        TOOL['read'](file)
