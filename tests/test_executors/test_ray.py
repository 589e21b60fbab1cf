"""Workers of Ray that die, hang, cannot be built, come and go."""

import logging
import os
import re
import signal
import socket
import sys
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from kit import ray_faults as faults
from kit.digits_runs import read_candidates, run_search, without_seconds
from kit.ray_faults import PATHS, FaultyBuild, attempts
from kit.scoring import facts
from kit.toy_search import toy_checkpoint, toy_config, toy_runner

from detnas_mm.executors import ray as module
from detnas_mm.executors.base import PathEvaluator, WrongSearchError
from detnas_mm.executors.ray import Ray
from detnas_mm.executors.ray_cluster import (
    ENVIRONMENT,
    HeadLostError,
    count_workers,
    start_ray,
)
from detnas_mm.utils.errors import InputError


@pytest.fixture
def log(tmp_path):
    return str(tmp_path / 'log')


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(module, '_REBUILD_SECONDS', 0.0)


EXPECTED = facts(
    [(path, PathEvaluator(faults.score, 'score')(path)) for path in PATHS]
)


def evaluate(build, **settings):
    with Ray(build, **{'workers': 2, **settings}) as executor:
        return facts(list(executor.run(PATHS)))


def test_results_come_as_they_finish(ray_cluster, log):
    """Also with more workers than there is room for."""
    release = Path(f'{log}.release')
    build = FaultyBuild(log, {0: partial(faults.wait_for, release)})
    with Ray(build, workers=5) as executor:
        results = []
        for path, result in executor.run(PATHS):
            results.append((path, result))
            if len(results) == len(PATHS) - 1:
                release.touch()
    assert results[-1][0] == PATHS[0]
    assert facts(results) == EXPECTED


def test_paths_ahead_are_evaluated_once(ray_cluster, log):
    build = FaultyBuild(log, {3: faults.end_child})
    with Ray(build, workers=2) as executor:
        results = list(executor.run(PATHS[:2], ahead=PATHS[2:]))
        rest = [path for path in PATHS if path not in dict(results)]
        results += executor.run(rest)
    found = facts(results)
    # A child of a worker ends by SIGTERM.
    assert found.pop(PATHS[3])[0] == -signal.SIGTERM
    assert found == {p: f for p, f in EXPECTED.items() if p != PATHS[3]}
    assert attempts(log).total() == len(PATHS)


def test_a_lost_worker_costs_its_candidate(ray_cluster, log, caplog):
    caplog.set_level(logging.WARNING)
    losses = {2: faults.hang, 3: faults.die, 4: faults.lose_device}
    assert evaluate(FaultyBuild(log, losses), candidate_timeout=8) == EXPECTED
    # On a busy machine, Ray may lose further workers.
    assert all(attempts(log)[index] >= 2 for index in losses)
    for reason in ('no end for', 'died', 'CUDA error'):
        assert re.search(f'lost and replaced: .*{reason}', caplog.text)
    assert attempts(log).total() < 2 * len(PATHS)


def test_a_path_that_kills_three_workers_fails(ray_cluster, log):
    found = evaluate(FaultyBuild(log, {3: faults.die}, times=99))
    fitness, _, error = found.pop(PATHS[3])
    assert fitness is None
    assert '3 workers were lost over it' in error
    assert 'died' in error
    assert attempts(log)[3] == 3
    assert found == {p: f for p, f in EXPECTED.items() if p != PATHS[3]}


@pytest.mark.parametrize(
    ('build', 'error', 'message'),
    [
        (
            faults.build_fails,
            InputError,
            'workers in a row could not be built, the last one on host '
            f'{socket.gethostname()}: FileNotFoundError: no checkpoint at '
            'supernet.pth; correct the cause and continue with --resume',
        ),
        (faults.build_differs, WrongSearchError, 'checkpoint_digest differs'),
        (
            FaultyBuild('/dev/null', {0: faults.give_other_metric}),
            InputError,
            "the evaluator gives no 'score', choose one of accuracy",
        ),
    ],
)
def test_what_no_other_worker_changes_ends_the_search(
    ray_cluster, build, error, message
):
    with pytest.raises(error, match=message) as raised:
        evaluate(build)
    assert '\n' not in str(raised.value)


def test_a_head_that_is_lost_ends_the_search(ray_cluster, log, monkeypatch):
    monkeypatch.setattr(module, '_HEAD_SECONDS', 0.1)
    with Ray(FaultyBuild(log, {})) as executor:
        executor._head = '127.0.0.1:1'
        with pytest.raises(HeadLostError, match=r'lost .* --resume'):
            list(executor.run(PATHS))


def test_two_ray_workers_search_as_one_process(ray_cluster, tmp_path):
    checkpoint = toy_checkpoint(tmp_path / 'toy.pth')
    toy_runner(tmp_path / 'whole').val()
    ray = dict(type='Ray', workers=2)
    config = toy_config(tmp_path / 'search', checkpoint, executor=ray)
    found, expected = run_search(config), read_candidates(tmp_path / 'whole')
    assert without_seconds(found) == without_seconds(expected)


@pytest.mark.slow
def test_nodes_come_and_go(ray, log, caplog, monkeypatch):
    """Without any worker the search waits; nodes that join are used."""
    from ray.cluster_utils import Cluster

    monkeypatch.setattr(module, '_WARNING_SECONDS', 2.0)
    caplog.set_level(logging.WARNING)
    cluster = Cluster(
        initialize_head=True,
        head_node_args=dict(num_cpus=0, num_gpus=0, include_dashboard=False),
        connect=True,
    )
    release = Path(f'{log}.release')
    build = FaultyBuild(log, {0: partial(faults.wait_for, release)}, times=99)
    results = []

    def search():
        with Ray(build) as executor:
            results.extend(executor.run(PATHS[:1]))

    def wait_until(condition):
        end = time.monotonic() + 100
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.1)

    thread = threading.Thread(target=search, daemon=True)
    thread.start()
    try:
        wait_until(lambda: 'No worker is ready for 1' in caplog.text)
        first = cluster.add_node(num_cpus=1)
        wait_until(lambda: attempts(log)[0] == 1)
        caplog.clear()
        cluster.remove_node(first)
        wait_until(lambda: 'No worker is ready' in caplog.text)
        assert 'lost and replaced' in caplog.text
        cluster.add_node(num_cpus=1)
        wait_until(lambda: attempts(log)[0] == 2)
        release.touch()
        thread.join(100)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert facts(results) == {PATHS[0]: EXPECTED[PATHS[0]]}


def test_settings_out_of_range_are_refused():
    for settings in (
        dict(workers=0),
        dict(cpus_per_worker=0),
        dict(gpus_per_worker=-1),
        dict(candidate_timeout=0),
    ):
        (name,) = settings
        with pytest.raises(InputError, match=f'`{name}` must be'):
            Ray(faults.build_fails, **settings)


def test_ray_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'ray', None)
    with pytest.raises(InputError, match='pip install'):
        Ray(faults.build_fails)


def test_cluster_that_is_not_there_is_named(ray):
    with pytest.raises(InputError, match='no Ray cluster at 127') as error:
        start_ray(ray, '127.0.0.1:1')
    assert 'ray start --head' in str(error.value)
    assert '\n' not in str(error.value)


def test_only_a_cluster_that_is_started_gets_settings(monkeypatch):
    """Those of the user stay, and the handler of SIGTERM does."""
    niceness, timeout = ENVIRONMENT
    monkeypatch.delenv('RAY_ADDRESS', raising=False)
    monkeypatch.setenv(niceness, '5')
    monkeypatch.setenv(timeout, 'to be removed')
    monkeypatch.delenv(timeout)
    handler = signal.getsignal(signal.SIGTERM)
    started = {}

    def init(address, **_):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        started[address] = [os.environ.get(n) for n in (niceness, timeout)]

    start_ray(SimpleNamespace(init=init), 'auto')
    start_ray(SimpleNamespace(init=init), None)
    assert started == {'auto': ['5', None], 'local': ['5', '600']}
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_worker_for_each_gpu_or_some_cores():
    assert count_workers(dict(CPU=16.0, GPU=8.0), gpus=1, cpus=1) == 8
    assert count_workers(dict(CPU=4.0, GPU=8.0), gpus=1, cpus=1) == 4
    assert count_workers(dict(CPU=16.0, GPU=8.0), gpus=0.5, cpus=1) == 16
    assert count_workers(dict(CPU=16.0), gpus=0, cpus=5) == 3
    assert count_workers(dict(CPU=16.0), gpus=1, cpus=1) == 0
