"""tools/search.py on several workers, which are killed or stopped.

Slow: ``pytest -m slow tests/test_tools/test_search_executors.py``.
"""

import os
import signal
import subprocess
import time

import pytest
from command_lines import (
    ALL_BOXES,
    RECALIBRATION,
    command,
    config_file,
    environment,
    loading_options,
    torchrun,
)
from kit.digits_runs import (
    read_candidates,
    run_search,
    search_config,
    without_seconds,
)

pytestmark = pytest.mark.slow

SEARCH = config_file('retinanet_detnas-search-tiny_fpn_digits')
RAY = ['--executor', 'ray']


@pytest.fixture(scope='module')
def expected(base, tmp_path_factory):
    """The candidates of a search by one process."""
    work_dir = tmp_path_factory.mktemp('expected')
    return without_seconds(run_search(search_config(base, work_dir)))


@pytest.fixture
def start(digits, supernet, tmp_path):
    """Starts a search in a process that leads a group of its own."""
    started = []

    def run(*args, launcher=()):
        process = subprocess.Popen(
            command(
                'search.py',
                SEARCH,
                supernet,
                '--work-dir',
                tmp_path / 'search',
                '--resume',
                *args,
                '--cfg-options',
                *loading_options(digits, 'train', 'val'),
                *RECALIBRATION,
                *ALL_BOXES,
                'val_cfg.generations=2',
                'val_cfg.population=3',
                'val_cfg.parents=2',
                'val_cfg.constraint.max_macs=41e6',
                launcher=launcher,
            ),
            env=environment(),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def recorded(work_dir):
    file = work_dir / 'search_record.jsonl'
    return file.read_bytes().count(b'\n') - 1 if file.exists() else -1


def wait_for(condition, process, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stdout.read()[-3000:]
        assert time.monotonic() < end, 'it never happened'
        time.sleep(0.02)


def finish(process):
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 0, output[-3000:]
    return output


def test_ray_gives_the_record_of_one_process(start, tmp_path, expected):
    output = finish(start(*RAY))
    assert without_seconds(read_candidates(tmp_path / 'search')) == expected
    # Ray is quiet.
    assert 'raylet' not in output
    assert '(Scorer' not in output
    assert 'Search [' in output


def test_ray_stops_by_sigterm_and_goes_on(start, tmp_path, expected):
    process = start(*RAY)
    wait_for(lambda: recorded(tmp_path / 'search') >= 1, process)
    process.terminate()
    begin = time.monotonic()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert time.monotonic() - begin < 30
    assert 'stopped by SIGTERM' in output
    assert '--resume' in output
    finish(start(*RAY))
    assert without_seconds(read_candidates(tmp_path / 'search')) == expected


def test_driver_of_ray_is_killed(start, tmp_path, expected):
    """Its workers end with it, and the search goes on without Ray."""
    process = start(*RAY)
    wait_for(lambda: recorded(tmp_path / 'search') >= 1, process)
    process.kill()
    process.wait()
    finish(start())
    assert without_seconds(read_candidates(tmp_path / 'search')) == expected
    left = subprocess.run(
        ['pgrep', '-f', str(tmp_path)], capture_output=True, text=True
    )
    assert not left.stdout.split()


def test_killed_rank_ends_the_run_of_torchrun(start, tmp_path, expected):
    process = start('--launcher', 'pytorch', launcher=torchrun())
    wait_for(lambda: recorded(tmp_path / 'search') >= 1, process)
    (rank,) = subprocess.run(
        ['pgrep', '-P', str(process.pid), '-f', 'search.py', '--newest'],
        capture_output=True,
        text=True,
    ).stdout.split()
    os.kill(int(rank), signal.SIGKILL)
    begin = time.monotonic()
    process.communicate(timeout=90)
    assert process.returncode not in (0, None)
    assert time.monotonic() - begin < 60
    process = start('--launcher', 'pytorch', launcher=torchrun())
    finish(process)
    assert without_seconds(read_candidates(tmp_path / 'search')) == expected


def test_ctrl_c_reaches_torchrun_and_its_ranks(start, tmp_path, expected):
    process = start('--launcher', 'pytorch', launcher=torchrun())
    wait_for(lambda: recorded(tmp_path / 'search') >= 1, process)
    os.killpg(process.pid, signal.SIGINT)
    begin = time.monotonic()
    output, _ = process.communicate(timeout=90)
    assert time.monotonic() - begin < 30
    assert 'go on by the same command with --resume' in output
    finish(start())
    assert without_seconds(read_candidates(tmp_path / 'search')) == expected


def test_ctrl_c_of_one_process(start, tmp_path):
    process = start()
    wait_for(lambda: recorded(tmp_path / 'search') >= 1, process)
    os.killpg(process.pid, signal.SIGINT)
    begin = time.monotonic()
    output, _ = process.communicate(timeout=60)
    assert time.monotonic() - begin < 20
    assert process.returncode == 130
    assert output.rstrip().endswith('by the same command with --resume')
    assert 'Traceback' not in output
