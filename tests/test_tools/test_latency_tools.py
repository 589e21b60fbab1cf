"""The command lines that measure on this device."""

import re

import pytest
import torch
from kit.command_lines import run_here
from kit.digits_runs import CONFIGS

from detnas_mm.cost import LatencyTable
from detnas_mm.structures import SEARCH_SPACES

MEASURE = 'analysis_tools/measure_latency.py'
BENCHMARK = 'analysis_tools/benchmark.py'
SUPERNET = CONFIGS / 'digits/retinanet_detnas-supernet-tiny_fpn_digits.py'
RETINANET = CONFIGS / 'digits/retinanet_detnas-tiny_fpn_digits.py'
CLASSIFIER = CONFIGS / 'detnas/detnas-small_8xb128_in1k.py'
QUICK = ('--rounds', 2, '--check-paths', 4)


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
    assert (table.rounds, table.statistic) == (2, 'minimum')
    assert table.check['paths'] == 4
    assert torch.__version__ in table.software
    assert table.device in printed
    assert 'ms in torch at 32x64, batch 2, bf16, threads: 1' in printed
    assert f'{table.blocks[9][3]:.3f}' in printed
    assert f'{table.check["macs_mape"]:.1%}' in printed
    assert 'eager mode ranks networks otherwise' in printed
    # By default the size is that of the test images.
    run_here(MEASURE, SUPERNET, out, *QUICK)
    assert LatencyTable.load(out).input_size == (128, 128)


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
    assert all(float(milliseconds) > 0 for milliseconds in rows.values())


def test_bad_input_is_named(tmp_path, monkeypatch, refusal):
    monkeypatch.chdir(tmp_path)
    path = ('--path', '0123012301')
    cases = [
        (MEASURE, SUPERNET, 'nowhere/out.json', 'no folder nowhere'),
        (MEASURE, SUPERNET, 'out.json', *QUICK[:2], '--check-paths', 3,
         '--check-paths must be at least 4, got 3'),
        (MEASURE, SUPERNET, 'out.json', '--rounds', 1, '--shape', 32, 32,
         '--rounds must be at least 2, got 1'),
        (BENCHMARK, SUPERNET, 'give one of its paths by --path'),
        (BENCHMARK, CLASSIFIER, *('--path', 'detnas_fpn_300m'),
         'builds a ImageClassifier'),
        (BENCHMARK, RETINANET, *path, '--device', 'cuda:99', 'torch finds '),
    ]  # fmt: skip
    for *command, expected in cases:
        assert expected in refusal(*command)
    assert not list(tmp_path.iterdir())
