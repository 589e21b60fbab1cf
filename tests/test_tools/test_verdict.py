"""The comparison of two detectors on the same test images."""

import json
import os
import pickle
import runpy
import subprocess
import time

import numpy as np
import pytest
from kit.digits_runs import ROOT
from kit.folders import as_coco, make_images
from kit.records import candidate

PAIRED = runpy.run_path(str(ROOT / 'tools/project/paired.py'))
IMAGES = make_images(40, seed=3)


@pytest.fixture
def truth(tmp_path):
    content = as_coco(IMAGES, [f'{i}.png' for i in range(len(IMAGES))])
    for annotation in content['annotations']:
        annotation['id'] += 1
    file = tmp_path / 'test.json'
    file.write_text(json.dumps(content))
    return file


def predictions(noise, seed):
    """What a detector finds whose boxes are wrong by some pixels."""
    rng = np.random.default_rng(seed)
    found = []
    for number, (_, boxes) in enumerate(IMAGES):
        corners = np.array(
            [(x, y, x + w, y + h) for _, x, y, w, h in boxes], float
        ).reshape(-1, 4)
        instances = dict(
            bboxes=corners + rng.normal(0, noise, corners.shape),
            labels=np.array([box[0] for box in boxes], int),
            scores=rng.random(len(boxes)),
        )
        found.append(dict(img_id=number, pred_instances=instances))
    return found


def evaluated(truth, noise, seeds=(0,)):
    return [
        PAIRED['evaluate'](truth, predictions(noise, seed)) for seed in seeds
    ]


def test_right_boxes_have_the_highest_score_and_none_the_lowest(truth):
    (right,) = evaluated(truth, 0.0)
    assert right.get_results()['AP'] == pytest.approx(1.0)
    nothing = [
        dict(
            img_id=number,
            pred_instances=dict(bboxes=[], labels=[], scores=[]),
        )
        for number in range(len(IMAGES))
    ]
    none = PAIRED['evaluate'](truth, nothing)
    assert none.get_results()['AP'] == 0.0
    result = PAIRED['difference']([right], [none])
    assert result.mean == pytest.approx(1.0)
    assert result.is_shown


def test_a_difference_is_shown_only_where_there_is_one(truth):
    good = evaluated(truth, 0.5)
    worse, as_good = evaluated(truth, 3.0), evaluated(truth, 0.5, (9,))
    shown = PAIRED['difference'](good, worse)
    low, high = shown.over_images
    assert 0 < low < shown.mean < high
    assert shown.is_shown
    assert shown.over_trainings is None
    opposite = PAIRED['difference'](worse, good)
    assert opposite.mean == pytest.approx(-shown.mean)
    assert opposite.is_shown
    same = PAIRED['difference'](good, as_good)
    low, high = same.over_images
    assert low < 0 < high
    assert not same.is_shown


def test_the_spread_between_trainings_counts_too(truth):
    first = evaluated(truth, 0.5, (0, 1)) + evaluated(truth, 6.0, (2,))
    second = evaluated(truth, 0.5, (3, 4)) + evaluated(truth, 6.0, (5,))
    result = PAIRED['difference'](first, second)
    low, high = result.over_trainings
    # One training of three failed: nothing can be said.
    assert low < 0 < high
    assert high - low > 0.2


def test_a_network_that_was_trained_again_is_tested_again(
    tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    tool = runpy.run_path(str(ROOT / 'tools/verdict.py'))
    checkpoint = tmp_path / 'iter_4.pth'
    checkpoint.touch()
    net = tool['Net']('found', candidate(0, path='0123'), (str(checkpoint),))
    calls = []

    def run(command, cwd, **_):
        calls.append(command)
        out = cwd / command[command.index('--out') + 1]
        out.write_bytes(pickle.dumps([len(calls)]))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, 'run', run)
    (tmp_path / 'work/test').mkdir(parents=True)
    assert tool['test'](net, tmp_path) == [[1]]
    assert tool['test'](net, tmp_path) == [[1]]
    later = time.time() + 60
    os.utime(checkpoint, (later, later))
    assert tool['test'](net, tmp_path) == [[2]]
    # Another search may find another network.
    other = tool['Net']('found', candidate(0, path='3210'), (str(checkpoint),))
    assert tool['test'](other, tmp_path) == [[3]]
