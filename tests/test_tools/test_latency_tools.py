"""The command lines that measure on this device."""

import re

import numpy as np
import pytest
import torch
from kit.command_lines import run_here
from kit.digits_runs import CONFIGS

from detnas_mm.cost import LatencyTable
from detnas_mm.models.latency import prediction_error
from detnas_mm.structures import SEARCH_SPACES

MEASURE = 'analysis_tools/measure_latency.py'
BENCHMARK = 'analysis_tools/benchmark.py'
SUPERNET = CONFIGS / 'digits/retinanet_detnas-supernet-tiny_fpn_digits.py'
RETINANET = CONFIGS / 'digits/retinanet_detnas-tiny_fpn_digits.py'
CLASSIFIER = CONFIGS / 'detnas/detnas-small_8xb128_in1k.py'
QUICK = ('--rounds', 1, '--check-paths', 3)


@pytest.fixture(autouse=True)
def wide_and_one_thread(monkeypatch):
    monkeypatch.setenv('COLUMNS', '120')
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_table_says_what_was_measured(tmp_path):
    out = tmp_path / 'latencies.json'
    printed = run_here(
        MEASURE, SUPERNET, out, '--shape', 32, 64, '--batch-size', 2,
        '--threads', 1, '--channels-last', '--precision', 'bf16', *QUICK,
    )  # fmt: skip
    table = LatencyTable.load(out)
    assert table.search_space == SEARCH_SPACES['tiny']
    assert (table.input_size, table.batch_size) == ((32, 64), 2)
    assert (table.threads, table.channels_last) == (1, True)
    assert (table.precision, table.shuffle) == ('bf16', 'grouped')
    assert table.rounds == 1
    assert table.check['paths'] == 3
    assert torch.__version__ in table.software
    assert table.device in printed
    assert 'ms at 32x64, batch 2, bf16, threads: 1' in printed
    assert f'{table.blocks[9][3]:.3f}' in printed
    assert f'mean absolute error {table.check["mape"]:.1%}' in printed


def test_size_is_that_of_the_test_images(tmp_path):
    out = tmp_path / 'latencies.json'
    run_here(MEASURE, SUPERNET, out, *QUICK)
    assert LatencyTable.load(out).input_size == (128, 128)


def test_prediction_error():
    error = prediction_error([9, 22, 30, 44], (10, 20, 30, 40))
    assert error['paths'] == 4
    assert error['mape'] == pytest.approx((0.1 + 0.1 + 0 + 0.1) / 4)
    assert error['bias'] == pytest.approx((-0.1 + 0.1 + 0 + 0.1) / 4)
    assert error['kendall'] == error['spearman'] == pytest.approx(1)


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        ((RETINANET, 'out.json', '--cfg-options',
          'model.backbone.path=0000000000'), 'one DetNASSupernet'),
        ((SUPERNET, 'nowhere/out.json'), 'no folder nowhere'),
        ((SUPERNET, 'out.json', '--check-paths', 2), '`check_paths`'),
    ],
)  # fmt: skip
def test_bad_input_is_named(
    tmp_path, monkeypatch, capsys, arguments, expected
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        run_here(MEASURE, *arguments)
    error = capsys.readouterr().err
    assert expected in error
    assert error.count('\n') == 1
    assert not list(tmp_path.iterdir())


def test_images_per_second_and_parts():
    printed = run_here(
        BENCHMARK, RETINANET, '--path', '0123012301', '--shape', 64, 96,
        '--rounds', 3, '--warm-up', 1, '--threads', 1,
    )  # fmt: skip
    numbers = re.search(r'([\d.]+) images per second: .* ([\d.]+) ms', printed)
    assert 1000 / float(numbers[1]) == pytest.approx(
        float(numbers[2]), rel=0.05
    )
    assert '64 x 96, batch 1, threads: 1' in printed
    rows = dict(re.findall(r'│ (\S.*?) +│ +([\d.]+) │', printed))
    assert len(rows) == 1 + 10 + 2
    assert 'block 2.2, xception' in rows
    assert {'stem', 'neck', 'rest'} <= set(rows)
    assert np.all(np.array(list(map(float, rows.values()))) > 0)


def test_supernet_of_a_benchmark_needs_a_path(capsys):
    with pytest.raises(SystemExit):
        run_here(BENCHMARK, SUPERNET)
    assert 'give one of its paths by --path' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        ((CLASSIFIER, '--path', 'detnas_fpn_300m'), 'builds a ImageCl'),
        ((RETINANET, '--path', '0123012301', '--rounds', 0), '`rounds` must'),
    ],
)
def test_bad_input_of_a_benchmark_is_named(capsys, arguments, expected):
    with pytest.raises(SystemExit):
        run_here(BENCHMARK, *arguments)
    error = capsys.readouterr().err
    assert expected in error
    assert error.count('\n') == 1


@pytest.mark.parametrize(
    'tool', [MEASURE, BENCHMARK, 'benchmarks/training_step.py']
)
def test_device_that_is_not_there(tool, capsys):
    with pytest.raises(SystemExit) as caught:
        run_here(tool, SUPERNET, 'out.json', '--device', 'cuda:99')
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith('error: --device cuda:99: torch finds ')
    assert error.count('\n') == 1
