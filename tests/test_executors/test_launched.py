"""Processes of a launcher that share the paths, die, hang or differ."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
from kit.jobs import environment, free_port, launched, start_rank
from kit.scoring import (
    PATHS,
    attempts,
    die,
    expected,
    facts,
    faulty,
    give_other_metric,
    lose_device,
    path_evaluator,
)
from torch.distributed import HashStore

from detnas_mm.executors import launched as module
from detnas_mm.executors.base import WrongSearchError
from detnas_mm.executors.launched import (
    Launched,
    LaunchInfo,
    connect,
    read_launch_rank,
    serve,
)
from detnas_mm.utils.errors import InputError

# Where the programs below find the kit and the package.
TESTS = Path(__file__).parents[1]
IMPORTED = (TESTS, TESTS.parent)
TORCHRUN = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')


PROGRAM = """
import sys
from kit.scoring import PATHS, path_evaluator
from detnas_mm.executors import launched

evaluate = path_evaluator(sys.argv[1])
rank = launched.read_launch_rank('pytorch')
info = launched.connect()
if rank:
    launched.serve(evaluate, info)
else:
    with launched.Launched(evaluate, info) as executor:
        print(len(list(executor.run(PATHS))), 'results')
"""


@pytest.fixture
def log(tmp_path):
    """The file in which each attempt is noted."""
    return tmp_path / 'log'


@pytest.fixture
def bare():
    """An environment without a launcher."""
    with mock.patch.dict(os.environ):
        for name in (*TORCHRUN, 'SLURM_NODELIST', 'SLURM_JOB_ID'):
            os.environ.pop(name, None)
        yield


def evaluate_last(path):
    """Evaluates on rank 0 after all other processes have ended."""
    for process in multiprocessing.active_children():
        process.join(30)
    return path_evaluator()(path)


@pytest.mark.parametrize(('ranks', 'paths'), [(1, 20), (3, 20), (4, 2)])
def test_each_path_is_evaluated_once(log, ranks, paths):
    paths = PATHS[:paths]
    build = partial(path_evaluator, log)
    with launched(ranks, build(), build) as executor:
        results = list(executor.run(paths))
    assert facts(results) == expected(paths)
    assert attempts(log) == sorted(paths)
    assert [process.exitcode for process in executor.processes] == [0] * (
        ranks - 1
    )


def test_results_come_while_rank_0_is_busy(log):
    others_are_done = threading.Event()
    build = partial(path_evaluator, log)

    def evaluate(path):
        result = build()(path)
        assert others_are_done.wait(30)
        return result

    results = []
    with launched(3, evaluate, build) as executor:
        for path, result in executor.run(PATHS[:6]):
            results.append((path, result))
            if len(results) == 5:
                others_are_done.set()
    assert facts(results) == expected(PATHS[:6])


def test_torchrun_shares_its_store(tmp_path, log):
    program = tmp_path / 'program.py'
    program.write_text(PROGRAM)
    command = '-m torch.distributed.run --nproc_per_node=2 --master_port='
    command += str(free_port())
    done = subprocess.run(
        [sys.executable, *command.split(), program, log],
        env=os.environ | {'PYTHONPATH': os.pathsep.join(map(str, IMPORTED))},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == '20 results\n'
    assert attempts(log) == sorted(PATHS)


# -- what ends a search ------------------------------------------------------


def test_a_rank_that_dies_is_named(monkeypatch):
    monkeypatch.setattr(module, 'MARGIN_SECONDS', 0)
    # On a busy machine rank 0 may have started later than that, too.
    with (
        pytest.raises(RuntimeError, match='rank (0, )?1 within 3 s.*--resume'),
        launched(
            2, evaluate_last, faulty(die), candidate_timeout=3
        ) as executor,
    ):
        list(executor.run(PATHS[:4]))
    assert executor.processes[0].exitcode == -signal.SIGKILL


@pytest.mark.parametrize(
    ('score', 'header', 'kind', 'message'),
    [
        (None, 'b', WrongSearchError, 'has another search .*: a there, b now'),
        (
            give_other_metric,
            'a',
            InputError,
            "no 'score'.*accuracy/top1",
        ),
        (
            lose_device,
            'a',
            RuntimeError,
            'has failed: RuntimeError: CUDA',
        ),
    ],
)
def test_a_failure_of_another_rank_ends_the_search(
    tmp_path, score, header, kind, message
):
    errors = tmp_path / 'rank1'
    served = dict(header=header, errors=tmp_path)
    with (
        pytest.raises(kind, match=message) as error,
        launched(
            2, evaluate_last, faulty(score), header='a', served=served
        ) as executor,
    ):
        list(executor.run(PATHS))
    assert type(error.value) is kind
    assert executor.processes[0].exitcode == 1
    assert errors.read_text().startswith(f'{kind.__name__}: ')
    if kind is not InputError:
        assert f'rank 1 on {socket.gethostname()} ' in str(error.value)


def test_other_ranks_end_with_the_store_of_rank_0(bare, tmp_path):
    port = free_port()
    process = start_rank(1, 2, port, path_evaluator, errors=tmp_path)
    os.environ.update(environment(0, 2, port))
    info = connect()
    assert (info.rank, info.world_size) == (0, 2)
    del info
    process.join(30)
    assert process.exitcode == 1
    assert 'lost the connection to rank 0' in (tmp_path / 'rank1').read_text()


def test_a_rank_0_that_hangs_ends_the_others(monkeypatch):
    monkeypatch.setattr(module, 'START_SECONDS', 0.1)
    monkeypatch.setattr(module, 'MARGIN_SECONDS', 0.1)
    info = LaunchInfo(HashStore(), 1, 2)
    with pytest.raises(RuntimeError, match='rank 0 is silent for 0.3 s'):
        serve(path_evaluator(), info, candidate_timeout=0.1)


def test_ctrl_c_ends_the_evaluation_of_rank_0():
    """Python would abort at its end otherwise."""
    # A shell that starts the tests in the background ignores the signal.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ended = threading.Event()

    def evaluate(path):
        signal.raise_signal(signal.SIGINT)
        try:
            while True:
                time.sleep(0.01)
        finally:
            ended.set()

    info = LaunchInfo(HashStore(), 0, 1)
    with (
        pytest.raises(KeyboardInterrupt),
        Launched(evaluate, info) as executor,
    ):
        list(executor.run(PATHS[:1]))
    assert ended.is_set()


def test_a_limit_of_0_is_refused():
    with pytest.raises(InputError, match='`candidate_timeout` must be'):
        Launched(None, LaunchInfo(HashStore(), 0, 1), candidate_timeout=0)


# -- launchers ---------------------------------------------------------------


SLURM = ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID')
MPI = (
    'OMPI_COMM_WORLD_RANK',
    'OMPI_COMM_WORLD_SIZE',
    'OMPI_COMM_WORLD_LOCAL_RANK',
)


@pytest.mark.parametrize(
    ('launcher', 'names'), [('slurm', SLURM), ('mpi', MPI)]
)
def test_launchers_set_what_torchrun_would(bare, launcher, names):
    os.environ.update(zip(names, ('9', '16', '1'), strict=True))
    assert read_launch_rank(launcher) == 9
    found = [os.environ[name] for name in TORCHRUN]
    assert found == ['9', '16', '1', '127.0.0.1', '29500']


def test_slurm_gives_the_first_host_and_a_port_of_the_job(bare, tmp_path):
    scontrol = tmp_path / 'scontrol'
    scontrol.write_text('#!/bin/sh\nprintf "gpu07\\ngpu08\\n"\n')
    scontrol.chmod(0o755)
    os.environ.update(zip(SLURM, ('9', '16', '1'), strict=True))
    os.environ.update(
        SLURM_NODELIST='gpu[07-08]',
        SLURM_JOB_ID='4711',
        PATH=f'{tmp_path}:{os.environ["PATH"]}',
    )
    read_launch_rank('slurm')
    assert os.environ['MASTER_ADDR'] == 'gpu07'
    assert os.environ['MASTER_PORT'] == '24711'


def test_a_process_without_launcher_is_refused(bare):
    with pytest.raises(InputError, match='dist_search.sh'):
        read_launch_rank('pytorch')
    assert read_launch_rank('none') == 0


def test_processes_that_do_not_find_each_other(bare, monkeypatch):
    monkeypatch.setattr(module, 'START_SECONDS', 1)
    port = free_port()
    os.environ.update(environment(0, 2, port))
    with pytest.raises(InputError, match=f'127.0.0.1:{port} within') as error:
        connect()
    assert '\n' not in str(error.value)
