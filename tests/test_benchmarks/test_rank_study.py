"""How well scores rank the networks of the ground truth."""

import argparse
import json
import math
import runpy
import sys

import numpy as np
import pytest
import torch
from kit.digits_runs import ROOT
from scipy import stats
from torch import nn

from detnas_mm.utils.errors import InputError

DIGITS_NETS = ROOT / 'benchmarks/digits_nets.json'


@pytest.fixture(scope='module')
def study():
    sys.path.insert(0, str(ROOT / 'benchmarks'))
    yield runpy.run_path(str(ROOT / 'benchmarks/rank_study.py'))
    sys.path.remove(str(ROOT / 'benchmarks'))


def test_ceiling_is_what_perfect_scores_reach(study):
    rng = np.random.default_rng(0)
    true = rng.normal(0, 0.03, 4000)
    results = true[:, None] + rng.normal(0, 0.02, (4000, 3))
    variance = study['Variance'].of(results)
    measured = stats.kendalltau(true, results.mean(axis=1)).statistic
    assert study['ceiling'](variance, 3) == pytest.approx(measured, abs=0.02)


def test_ranking_names_what_the_best_by_score_loses(study):
    scores = np.array([0.1, 0.4, 0.3, 0.2])
    results = np.array([0.50, 0.55, 0.60, 0.52])
    ranking = study['Ranking'].of(scores, results)
    assert ranking.regret == pytest.approx(0.05)
    assert ranking.percentile == 75
    assert ranking.tau.value == pytest.approx(4 / 6)


def test_report_reads_the_tables_alone(study, tmp_path, capsys):
    # The later a network, the fewer skips its first stage has.
    paths = ['0330000000000', '0030000000000', '0000000000000']
    nets = [
        {
            'path': path, 'macs': index % 3, 'params': -index,
            'group': 'band', 'uneven': False,
            'results': [0.5 + index / 100, 0.51 + index / 100],
        }
        for index, path in enumerate(paths)
    ]  # fmt: skip
    perfect = dict(zip(paths, range(3), strict=True))
    study['report'](nets, {'uniform': [{'seed': 0, 'scores': perfect}]})
    printed = capsys.readouterr().out
    assert '3 networks of equal cost, 2 trainings each' in printed
    (row,) = (line for line in printed.splitlines() if 'uniform' in line)
    cells = [cell.strip() for cell in row.strip('│').split('│')]
    assert cells[:4] == ['uniform', '1.00', '1.00', '1.00']
    assert cells[5:] == ['0.000', '100', '100', '1.000']
    for name in ('fewest parameters', 'a rule found here'):
        (row,) = (line for line in printed.splitlines() if name in line)
        assert '│     1.00 │' in row


def test_picture_has_the_mean_scores_and_results_of_each_group(
    study, tmp_path, monkeypatch
):
    nets = [
        {'path': path, 'group': group, 'test_map': [result, result + 0.02]}
        for path, group, result in (
            ('0', 'band', 0.5), ('1', 'band', 0.6), ('2', 'found', 0.7),
        )
    ]  # fmt: skip
    rows = [
        {'scores': {'0': 0.4, '1': 0.1, '2': 0.9}},
        {'scores': {'0': 0.2, '1': 0.3, '2': 0.9}},
    ]
    points = {}

    def scatter(axes, scores, results, label, **_):
        points[label] = pytest.approx(np.array([scores, results]))

    monkeypatch.setattr('matplotlib.axes.Axes.scatter', scatter)
    file = tmp_path / 'ranking.svg'
    study['draw'](nets, rows, file)
    assert points == {
        'random, 22M ± 2% MACs': np.array([[0.3, 0.2], [0.51, 0.61]]),
        'found': np.array([[0.9], [0.71]]),
    }
    assert b'</svg>' in file.read_bytes()


def test_ways_without_scores_are_not_drawn(study, tmp_path):
    with pytest.raises(InputError, match=r'score twice-as-long --seed N'):
        study['read_scores'](tmp_path / 'scores.json', 'twice-as-long')


def test_nwot_counts_agreements_of_relus(study):
    """Two images, three units: one of them is active for both."""
    images = torch.tensor([[[[1.0]], [[-1.0]], [[1.0]]],
                           [[[1.0]], [[1.0]], [[-1.0]]]])  # fmt: skip
    score = study['nwot'](nn.Sequential(nn.ReLU()), images)
    # Each agrees with itself in 3 units, with the other one in 1.
    assert score == pytest.approx(math.log(3 * 3 - 1 * 1))


def test_synflow_of_a_chain_is_its_flow_once_per_layer(study):
    first, second = nn.Conv2d(3, 2, 1), nn.Conv2d(2, 1, 1)
    for layer in (first, second):
        nn.init.zeros_(layer.bias)
    net = nn.Sequential(nn.Sequential(first, second), nn.Identity())
    flow = (
        second.weight.abs().sum(0).flatten()
        @ first.weight.abs().sum(1).flatten()
    )
    # Four pixels; weight times gradient sums to the output in each layer,
    # and the outputs of a batch of one are iterated over.
    score = study['synflow'](net, (2, 2))
    assert score == pytest.approx(math.log(2 * 4 * flow.item()), rel=1e-5)


def test_only_lacking_scores_are_added(study, tmp_path, monkeypatch):
    nets = json.loads(DIGITS_NETS.read_text())['nets']
    paths = [net['path'] for net in nets]
    file = tmp_path / 'scores.json'
    row = {'seed': 0, 'scores': dict.fromkeys(paths[1:], 0.5)}
    file.write_text(json.dumps({'nwot': [row]}))
    monkeypatch.setitem(
        study['score'].__globals__,
        'score_by_proxy',
        lambda paths, args: [0.25] * len(paths),
    )
    args = argparse.Namespace(
        scores=file, nets=DIGITS_NETS, way='nwot', seed=0
    )
    study['score'](args)
    (row,) = json.loads(file.read_text())['nwot']
    assert row['scores'] == {paths[0]: 0.25} | dict.fromkeys(paths[1:], 0.5)
    with pytest.raises(InputError, match="'nwot' with seed 0"):
        study['score'](args)


def test_supernets_of_the_ground_truth_are_not_compared(study, tmp_path):
    args = argparse.Namespace(
        scores=tmp_path / 'scores.json', nets=DIGITS_NETS,
        way='uniform', seed=1, checkpoint=None,
    )  # fmt: skip
    with pytest.raises(InputError, match='another --seed'):
        study['score'](args)
