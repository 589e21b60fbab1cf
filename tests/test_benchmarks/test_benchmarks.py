"""The benchmarks run to their end, at toy size."""

import json
import re
import runpy
import subprocess
from pathlib import Path

import numpy as np
import pytest
from kit.command_lines import (
    ALL_BOXES,
    RECALIBRATION,
    config_file,
    loading_options,
    run_here,
)
from kit.digits_runs import ROOT
from kit.records import CANDIDATE, HEADER
from mmengine.config import Config

from detnas_mm.structures import SearchRecord

BENCHMARKS = ROOT / 'benchmarks'
SEARCH = config_file('retinanet_detnas-search-tiny_fpn_digits')
SUPERNET = config_file('retinanet_detnas-supernet-tiny_fpn_digits')


def measure(name, *arguments):
    """Runs a benchmark; returns its JSON."""
    output = run_here(BENCHMARKS / f'{name}.py', *arguments)
    return json.loads(output.splitlines()[-1])


@pytest.fixture
def searches_here(monkeypatch):
    """Runs searches in this process."""

    def run(command, check):
        assert check
        run_here(Path(command[1]), *command[2:])

    monkeypatch.setattr(subprocess, 'run', run)


@pytest.fixture
def options(digits):
    """Options of a search on the few digits of the tests."""
    return [
        *('--cfg-options', *loading_options(digits, 'train', 'val')),
        *(*RECALIBRATION, *ALL_BOXES),
    ]


def test_metrics_of_coco_are_equal():
    result = measure('coco_metric', '--images', 20, '--boxes', 10)
    assert result['equal'] is True
    assert len(result['rows']) == 3


def test_images_are_read_from_files_and_from_memory():
    result = measure(
        'image_reading',
        *(SEARCH, '--random', 5, '--shape', 64, 96),
        *('--workers', 0, '--rounds', 1),
    )
    sources = [row['from'] for row in result['rows']]
    assert sources == ['files, 0 workers', 'memory']
    assert result['kept_gb'] > 0


def test_the_parts_of_a_candidate_make_up_the_whole():
    result = measure(
        'candidate_evaluation',
        *(SEARCH, '--random', 20, '--shape', 64, 64, '--device', 'cpu'),
        *('--rounds', 1, '--spread', 100),
    )
    assert (result['images_for_bn'], result['images_for_score']) == (2, 20)
    ms = {row['part']: row['ms']['median'] for row in result['rows']}
    whole, ratio = ms.pop('whole candidate'), ms.pop('whole / network')
    network = ms.pop('network alone')
    for part in ('network: backbone', 'metric', 'BN statistics', 'images'):
        assert ms[part] > 0
    assert sum(ms.values()) == pytest.approx(whole)
    assert ratio == pytest.approx(whole / network)


def test_a_step_does_nothing_for_choices_that_are_not_taken():
    subnet, four, sixteen = measure(
        'training_step',
        *(SUPERNET, '--shape', 64, 64, '--rounds', 1, '--device', 'cpu'),
        *('--choices', 4, 16),
    )['rows']
    for supernet in (four, sixteen):
        for work in ('tensor operators', 'values they receive, M'):
            assert supernet[work] == subnet[work] > 10
    # MMEngine's clipping asks each parameter whether it has a gradient.
    assert four['Python calls'] < 1.1 * subnet['Python calls']
    # The supernets are not the same.
    memory = 'weights, gradients and state, MB'
    assert subnet[memory] < four[memory] < sixteen[memory]


def test_cost_of_the_controller():
    assert len(measure('legality_checks', '--rounds', 1)['rows']) == 4
    output = run_here(
        BENCHMARKS / 'controller_cost.py',
        *('--generations', 2, '--population', 12),
    )
    # Not the minutes of an evaluation, but at least a line on disk.
    assert 0 < float(output.split()[0]) < 5000


def test_duration_of_a_simulated_search():
    tool = runpy.run_path(str(BENCHMARKS / 'scaling_model.py'))
    simulate = tool['simulate']
    equal = np.full((20, 50), 3.0)
    cases = {
        # One worker does everything; a generation takes whole rounds.
        (1, 0): 20 * 50 * 3.0,
        (8, 0): 20 * 7 * 3.0,
        (100, 0): 20 * 3.0,
        # With lookahead no worker is idle.
        (20, 1): 50 * 3.0,
        (100, 1): 10 * 3.0,
    }
    for (workers, lookahead), seconds in cases.items():
        duration = simulate(equal, workers, lookahead=lookahead)
        assert duration == pytest.approx(seconds)
    slow = simulate(equal, 50, controller=0.5)
    assert slow == pytest.approx(20 * (3.0 + 50 * 0.5))
    uneven = np.ones((4, 5))
    uneven[:, 2] = 6.0
    assert simulate(uneven, 5) == pytest.approx(4 * 6.0)


def test_simulation_from_a_record(tmp_path):
    file = tmp_path / 'search_record.jsonl'
    with SearchRecord.open(file, HEADER) as record:
        record.append(CANDIDATE)
    output = run_here(BENCHMARKS / 'scaling_model.py', file, '--seconds', 3.6)
    # 1000 candidates of 3.6 s each, and 0.01 s of the controller.
    assert re.search(r'│ +1 │ +1.00 │ +100% │', output)


@pytest.mark.slow
def test_evolution_is_compared_with_random_search(
    supernet, options, tmp_path, searches_here
):
    arguments = [
        *(BENCHMARKS / 'evolution_against_random.py', SEARCH, supernet),
        *('--seeds', 0, '--out', tmp_path, *options),
        *('val_cfg.generations=2', 'val_cfg.algorithm.population=2'),
        'val_cfg.algorithm.parents=1',
    ]
    *_, table, last = run_here(*arguments).splitlines()
    (row,) = json.loads(table)['rows']
    assert row['candidates'] == 4
    # The first generation is the same.
    assert row['difference'] == row['evolution'] - row['random']
    assert re.fullmatch('evolution is better on [01] of 1 seeds', last)


@pytest.mark.slow
def test_throughput_of_a_search(supernet, options, tmp_path):
    """The only process of its own: torchrun with one worker."""
    output = run_here(
        *(BENCHMARKS / 'search_scaling.py', SEARCH, supernet),
        *('--workers', 1, '--executors', 'torchrun', '--out', tmp_path),
        *(*options, 'val_cfg.generations=1'),
        *('val_cfg.algorithm.population=3', 'val_cfg.algorithm.parents=1'),
    )
    assert re.search(r'torchrun │ +1 │ +\d+ │ +100% │', output)


@pytest.mark.slow
def test_protocols_are_compared(supernet, options, tmp_path, searches_here):
    out = tmp_path / 'out.json'
    arguments = [
        *(BENCHMARKS / 'protocol_study.py', SEARCH, supernet),
        *('--candidates', 3, '--work-dir', tmp_path, '--json', out),
        *('--protocol', 'images=0.5', *options),
    ]
    assert '3 candidates' in run_here(*arguments)
    rows = json.loads(out.read_text())
    names = [row['protocol'] for row in rows]
    assert names == ['full', 'other images for BN', 'images=0.5']
    assert rows[0]['Kendall tau'] == pytest.approx(1)
    assert rows[0]['scores move by'] == 0
    assert rows[1]['scores move by'] > 0
    # Half of the images, with their boxes.
    part = json.loads((tmp_path / 'images_0.5.json').read_text())
    ids = {image['id'] for image in part['images']}
    assert {box['image_id'] for box in part['annotations']} <= ids
    config = Config.fromfile(tmp_path / 'images=0_5_seed0.py')
    whole = Config.fromfile(tmp_path / 'full_seed0.py')
    whole = json.loads(Path(whole.val_evaluator.ann_file).read_text())
    assert len(ids) == len(whole['images']) // 2
    assert config.val_evaluator.ann_file.endswith('images_0.5.json')


def test_settings_of_a_protocol(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    tool = runpy.run_path(str(BENCHMARKS / 'protocol_study.py'))
    config = Config.fromfile(SEARCH)
    settings = {
        'bn_seed': 7,
        'bn_images': 16,
        'scale': 0.5,
        'model.test_cfg.nms_pre': 11,
    }
    changed = tool['protocol_config'](config, settings, tmp_path)
    hook = changed.custom_hooks[1]
    assert (hook.seed, hook.num_images) == (7, 16)
    assert changed.model.test_cfg.nms_pre == 11
    before, after = (
        [
            step['scale']
            for split in ('train', 'val')
            for step in settings[f'{split}_dataloader'].dataset.pipeline
            if 'scale' in step
        ]
        for settings in (config, changed)
    )
    assert after == [tuple(side // 2 for side in scale) for scale in before]
    assert len(after) == 2
    # The config itself is not changed.
    assert config.to_dict() == Config.fromfile(SEARCH).to_dict()


@pytest.mark.slow
# It builds many models, also in other processes.
@pytest.mark.timeout(1200)
def test_gpu_measurements_at_toy_size(tmp_path):
    run_here(
        *(BENCHMARKS / 'gpu.py', '--toy', '--out', tmp_path),
        *('--minutes', 60),
    )
    content = json.loads((tmp_path / 'gpu.json').read_text())
    cases = [(row['detector'], row['mode']) for row in content['training']]
    assert cases == [
        (detector, mode)
        for mode in ('fp32', 'fp32, channels_last')
        for detector in ('retinanet', 'faster-rcnn')
    ]
    assert all(row['images/s'] > 0 for row in content['training'])
    values = {
        (row['detector'], row['part']): row['value']
        for row in content['candidates']
    }
    for detector in ('retinanet', 'faster-rcnn'):
        whole = values[detector, 'whole candidate']
        assert values[detector, 'network alone'] < whole
        copied = 'whole candidate, copied and in the loops of mmdet'
        assert values[detector, copied] > 0
    left_out = ['TensorRT table: trtexec is not installed']
    assert content['left_out'] in ([], left_out)
    assert '| retinanet | fp32 |' in (tmp_path / 'gpu.md').read_text()
