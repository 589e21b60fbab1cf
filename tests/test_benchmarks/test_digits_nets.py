"""The ground truth of the digits: its networks and what they tell."""

import argparse
import json
import runpy

import numpy as np
import pytest
from kit.digits_runs import ROOT

from detnas_mm.cost import backbone_macs, backbone_params
from detnas_mm.structures import SEARCH_SPACES
from detnas_mm.utils.errors import InputError

TOOL = runpy.run_path(str(ROOT / 'benchmarks/digits_nets.py'))
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


def test_variance_is_divided_between_networks_and_seeds():
    """As an analysis of variance with random effects."""
    rng = np.random.default_rng(0)
    nets = rng.normal(0, 0.03, (4000, 1))
    results = nets + rng.normal(0, 0.02, (4000, 3))
    variance = TOOL['Variance'].of(results)
    assert variance.architecture**0.5 == pytest.approx(0.03, rel=0.05)
    assert variance.seed**0.5 == pytest.approx(0.02, rel=0.05)
    assert variance.share(1) == pytest.approx(9 / 13, abs=0.02)
    assert variance.share(3) == pytest.approx(27 / 31, abs=0.02)


def test_table_grows_where_it_was_stopped(tmp_path, monkeypatch):
    asked = []

    def run_jobs(jobs, args):
        asked.append(list(jobs))
        # The last one finishes first.
        for job in reversed(jobs):
            yield job, (job.seed + 0.5, 0.25)

    extend = TOOL['extend']
    monkeypatch.setitem(extend.__globals__, 'run_jobs', run_jobs)
    file = tmp_path / 'nets.json'
    args = argparse.Namespace(file=file, trainings=63)
    extend(args)
    args.trainings = 3
    extend(args)
    first, second = asked
    assert [job.seed for job in second] == [0, 1, 1]
    assert second[0] not in first
    nets = json.loads(file.read_text())['nets']
    assert nets[0]['test_map'] == [0.5, 1.5]
    assert nets[1]['test_map'] == [0.5, 1.5]
    assert nets[2]['test_map'] == nets[63]['test_map'] == [0.5]


def test_table_of_another_recipe_is_refused(tmp_path):
    file = tmp_path / 'nets.json'
    file.write_text(json.dumps({'recipe': {}}))
    with pytest.raises(InputError, match='another recipe'):
        TOOL['read'](file)
