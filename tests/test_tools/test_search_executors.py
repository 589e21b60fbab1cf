"""tools/search.py on several workers, which are killed or stopped.

Slow: ``pytest -m slow tests/test_tools/test_search_executors.py``.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest
import torch
from kit.command_lines import (
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
from kit.search_process import free_port

from detnas_mm.executors.ray_cluster import ENVIRONMENT

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

    def run(*args, launcher=(), checkpoint=supernet, generations=2):
        process = subprocess.Popen(
            command(
                'search.py',
                SEARCH,
                checkpoint,
                '--work-dir',
                tmp_path / 'search',
                '--resume',
                *args,
                '--cfg-options',
                *loading_options(digits, 'train', 'val'),
                *RECALIBRATION,
                *ALL_BOXES,
                f'val_cfg.generations={generations}',
                'val_cfg.algorithm.population=3',
                'val_cfg.algorithm.parents=2',
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


def wait_for(condition, process, seconds=600):
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
    assert '(Worker' not in output
    assert 'Search [' in output


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


def test_a_worker_of_ray_with_another_checkpoint(start, supernet, tmp_path):
    """The file is replaced between the driver's look and the workers'."""
    checkpoint = tmp_path / 'supernet.pth'
    shutil.copy(supernet, checkpoint)
    other = torch.load(supernet)
    other['state_dict']['backbone.stem.0.weight'] += 1e-3
    torch.save(other, tmp_path / 'other.pth')
    process = start(*RAY, checkpoint=checkpoint)
    wait_for(lambda: recorded(tmp_path / 'search') == 0, process)
    os.replace(tmp_path / 'other.pth', checkpoint)
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 2
    (line,) = [one for one in output.splitlines() if one[:6] == 'error:']
    assert 'has another search than the command' in line
    assert 'checkpoint_digest' in line
    assert recorded(tmp_path / 'search') == 0


@pytest.fixture
def cluster(monkeypatch):
    """A cluster beside the search: its address, and its folder."""
    pytest.importorskip('ray')
    # Whether this user has a token or not.
    monkeypatch.setenv('RAY_AUTH_MODE', 'disabled')
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    # The names of its sockets have to be short.
    folder = tempfile.mkdtemp(prefix='ray')
    address = f'127.0.0.1:{free_port()}'
    subprocess.run(
        [
            *(sys.executable, '-m', 'ray.scripts.scripts', 'start', '--head'),
            f'--port={address.partition(":")[2]}',
            f'--temp-dir={folder}',
            '--num-cpus=2',
            '--include-dashboard=false',
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=250,
    )
    yield address, folder
    for process in processes_with(folder):
        os.kill(process, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def processes_with(text):
    """The processes in whose command line a text is."""
    found = subprocess.run(
        ['pgrep', '-f', text], capture_output=True, text=True
    )
    return list(map(int, found.stdout.split()))


def test_head_of_ray_is_lost(start, cluster, tmp_path, expected):
    """Said before Ray ends the search, which goes on without the cluster."""
    address, folder = cluster
    # So many that no machine is done before the head is.
    process = start(*RAY, '--address', address, generations=100)
    wait_for(lambda: recorded(tmp_path / 'search') >= 1, process)
    for head in processes_with(f'gcs_server.*{folder}'):
        os.kill(head, signal.SIGKILL)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 2, output[-3000:]
    (line,) = [one for one in output.splitlines() if one[:6] == 'error:']
    assert 'the head of the Ray cluster is lost' in line
    assert '--resume' in line
    assert recorded(tmp_path / 'search') >= 1
    finish(start())
    found = without_seconds(read_candidates(tmp_path / 'search'))
    assert found[: len(expected)] == expected


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
    assert 'resume with the same command and --resume' in output
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
    assert 'resume with the same command and --resume' in output
    assert 'Traceback' not in output
