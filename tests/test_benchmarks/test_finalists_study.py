"""What trainings of the best by score find, from stored numbers."""

import argparse
import json
import runpy
import sys

import pytest
from kit.digits_runs import ROOT

from detnas_mm.utils.errors import InputError

sys.path.insert(0, str(ROOT / 'benchmarks'))
STUDY = runpy.run_path(str(ROOT / 'benchmarks/finalists_study.py'))
sys.path.pop(0)

# The third by score is the best, the first is the worst.
TRUTH = {'a': 0.50, 'b': 0.55, 'c': 0.60, 'd': 0.52, 'e': 0.51}
SCORES = {'a': 0.9, 'b': 0.8, 'c': 0.7, 'd': 0.6, 'e': 0.5, 'free': 1.0}
NETS = [
    {'path': path, 'group': 'band', 'test_map': [value, value + 0.01]}
    for path, value in TRUTH.items()
]
NETS.append({'path': 'free', 'group': 'free', 'test_map': [0.9]})


@pytest.mark.parametrize(
    ('count', 'expected'), [(1, 20), (2, 80), (3, 100), (5, 100)]
)
def test_percentile_of_what_the_trainings_choose(count, expected):
    percentile = STUDY['percentile_reached'](NETS, SCORES, TRUTH, count)
    assert percentile == expected


def test_report_has_the_cost_of_each_choice(tmp_path, capsys, monkeypatch):
    names = STUDY['report'].__globals__
    monkeypatch.setitem(names, 'COUNTS', (1, 3))
    monkeypatch.setattr(
        names['digits_nets'], 'read', lambda file: {'nets': NETS}
    )
    scores, file = tmp_path / 'scores.json', tmp_path / 'finalists.json'
    scores.write_text(json.dumps({'fair': [{'seed': 10, 'scores': SCORES}]}))
    misled = {**TRUTH, 'a': 0.99}
    trainings = {'0.25': misled, '0.5': TRUTH, '1.0': TRUTH}
    row = {'way': 'fair', 'seed': 10, 'search_map': trainings}
    file.write_text(json.dumps([row]))
    args = argparse.Namespace(nets=None, scores=scores, file=file)
    STUDY['report'](args)
    lines = [
        [cell.strip() for cell in line.strip('│').split('│')]
        for line in capsys.readouterr().out.splitlines()
        if line.startswith('│')
    ]
    # way, finalists, schedule, cost in trainings, each supernet, mean
    assert lines == [
        ['fair', '1', '0', '0', '20', '20'],
        ['fair', '3', '0.25', '0.75', '20', '20'],
        ['fair', '3', '0.5', '1.5', '100', '100'],
        ['fair', '3', '1', '3', '100', '100'],
    ]


def test_scores_must_exist(tmp_path):
    file = tmp_path / 'scores.json'
    file.write_text(json.dumps({'fair': [{'seed': 10, 'scores': SCORES}]}))
    with pytest.raises(InputError, match=r"no scores of 'fair' with seed 3"):
        STUDY['read_scores'](file, 'fair', 3)


def test_a_quarter_of_the_schedule_sees_a_quarter_of_the_images():
    (setting,) = STUDY['shorter_epoch'](0.25)
    # 3,000 images in batches of 8.
    assert setting == 'train_dataloader.num_batch_per_epoch=93'
