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
    SMALL_SEARCH,
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
    loading = loading_options(digits, 'train', 'val')

    def run(*args, launcher=(), checkpoint=supernet, generations=2):
        work_dir = ['--work-dir', tmp_path / 'search', '--resume']
        arguments = [SEARCH, checkpoint, *work_dir, *args]
        arguments += ['--cfg-options', *loading, *SMALL_SEARCH]
        arguments.append(f'val_cfg.generations={generations}')
        process = subprocess.Popen(
            command('search.py', *arguments, launcher=launcher),
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


def wait_for_candidates(folder, number, process, seconds=600):
    """Waits until so many candidates are recorded."""
    record = folder / 'search' / 'search_record.jsonl'
    end = time.monotonic() + seconds
    while not record.exists() or record.read_bytes().count(b'\n') <= number:
        assert process.poll() is None, process.stdout.read()[-3000:]
        assert time.monotonic() < end, 'it never happened'
        time.sleep(0.02)


def finish(process, returncode=0):
    output, _ = process.communicate(timeout=500)
    assert process.returncode == returncode, output[-3000:]
    return output


def processes(*options):
    """The ids of the processes that pgrep finds."""
    found = subprocess.run(['pgrep', *options], capture_output=True, text=True)
    return list(map(int, found.stdout.split()))


def test_ray_gives_the_record_of_one_process(start, tmp_path, expected):
    output = finish(start(*RAY))
    assert without_seconds(read_candidates(tmp_path / 'search')) == expected
    # Ray is quiet.
    assert 'raylet' not in output
    assert '(Worker' not in output
    assert 'Search [' in output


def test_driver_of_ray_is_killed(start, tmp_path, expected):
    """Its workers end with it, and the search is resumed without Ray."""
    process = start(*RAY)
    wait_for_candidates(tmp_path, 1, process)
    process.kill()
    process.wait()
    finish(start())
    assert without_seconds(read_candidates(tmp_path / 'search')) == expected
    assert not processes('-f', str(tmp_path))


def test_a_worker_of_ray_with_another_checkpoint(start, supernet, tmp_path):
    """The file is replaced after the driver and before the workers read it."""
    checkpoint = tmp_path / 'supernet.pth'
    shutil.copy(supernet, checkpoint)
    other = torch.load(supernet)
    other['state_dict']['backbone.stem.0.weight'] += 1e-3
    torch.save(other, tmp_path / 'other.pth')
    process = start(*RAY, checkpoint=checkpoint)
    wait_for_candidates(tmp_path, 0, process)
    os.replace(tmp_path / 'other.pth', checkpoint)
    output = finish(process, returncode=2)
    (line,) = [text for text in output.splitlines() if text[:6] == 'error:']
    assert 'has another search than the command' in line
    assert 'checkpoint_digest' in line
    assert not read_candidates(tmp_path / 'search')


@pytest.fixture
def cluster(monkeypatch):
    """A cluster beside the search: its address and its folder."""
    pytest.importorskip('ray')
    # Whether this user has a token or not.
    monkeypatch.setenv('RAY_AUTH_MODE', 'disabled')
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    # The names of its sockets have to be short.
    folder, port = tempfile.mkdtemp(prefix='ray'), free_port()
    start = [sys.executable, '-m', 'ray.scripts.scripts', 'start', '--head']
    start += [f'--port={port}', f'--temp-dir={folder}', '--num-cpus=2']
    subprocess.run(
        [*start, '--include-dashboard=false'],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=250,
    )
    yield f'127.0.0.1:{port}', folder
    for process in processes('-f', folder):
        os.kill(process, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def test_head_of_ray_is_lost(start, cluster, tmp_path, expected):
    """The search reports it before Ray ends it, and is resumed without Ray."""
    address, folder = cluster
    # So many that no machine is done before the head is lost.
    process = start(*RAY, '--address', address, generations=100)
    wait_for_candidates(tmp_path, 1, process)
    for head in processes('-f', f'gcs_server.*{folder}'):
        os.kill(head, signal.SIGKILL)
    output = finish(process, returncode=2)
    (line,) = [text for text in output.splitlines() if text[:6] == 'error:']
    assert 'the head of the Ray cluster is lost' in line
    assert '--resume' in line
    finish(start())
    found = without_seconds(read_candidates(tmp_path / 'search'))
    assert found[: len(expected)] == expected


def test_killed_rank_ends_the_run_of_torchrun(start, tmp_path, expected):
    process = start('--launcher', 'pytorch', launcher=torchrun())
    wait_for_candidates(tmp_path, 1, process)
    (rank,) = processes('-P', str(process.pid), '-f', 'search.py', '--newest')
    os.kill(rank, signal.SIGKILL)
    begin = time.monotonic()
    process.communicate(timeout=90)
    assert process.returncode not in (0, None)
    assert time.monotonic() - begin < 60
    finish(start('--launcher', 'pytorch', launcher=torchrun()))
    assert without_seconds(read_candidates(tmp_path / 'search')) == expected


@pytest.mark.parametrize('ranks', [1, 2])
def test_ctrl_c_of_one_process(start, tmp_path, expected, ranks):
    """Or of torchrun and its processes."""
    options = ['--launcher', 'pytorch'] if ranks == 2 else []
    process = start(*options, launcher=torchrun() if ranks == 2 else ())
    wait_for_candidates(tmp_path, 1, process)
    os.killpg(process.pid, signal.SIGINT)
    begin = time.monotonic()
    output, _ = process.communicate(timeout=60)
    assert time.monotonic() - begin < 30
    assert 'resume with the same command and --resume' in output
    if ranks == 1:
        assert process.returncode == 130
        assert 'Traceback' not in output
    finish(start())
    assert without_seconds(read_candidates(tmp_path / 'search')) == expected
