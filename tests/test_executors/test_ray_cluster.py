"""What is asked of a Ray cluster, before there is one."""

import socket
import sys
import threading
from types import SimpleNamespace

import pytest
from kit.scoring import PATHS, local_evaluator

from detnas_mm.executors import ray as module
from detnas_mm.executors.ray import RayEvaluator
from detnas_mm.executors.ray_cluster import (
    ClusterLostError,
    cluster_room,
    start_ray,
)


def test_cluster_that_is_not_there_is_named(ray):
    settings = RaySettings(address='127.0.0.1:1')
    with pytest.raises(
        ConnectionError, match='no Ray cluster at 127'
    ) as error:
        RayEvaluator(local_evaluator, settings)
    assert 'ray start --head' in str(error.value)
    assert '\n' not in str(error.value)


def test_ray_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'ray', None)
    with pytest.raises(ValueError, match='pip install'):
        RayEvaluator(local_evaluator)


@pytest.mark.parametrize(
    'settings',
    [
        dict(workers=0),
        dict(cpus_per_worker=0),
        dict(gpus_per_worker=-1),
        dict(candidate_timeout=0),
        dict(chunk=0),
    ],
)
def test_settings_out_of_their_range_are_refused(settings):
    (name,) = settings
    with pytest.raises(ValueError, match=f'`{name}` must be'):
        RaySettings(**settings)


class FakeRay:
    """A cluster as the library describes it."""

    def __init__(self, **resources):
        self.resources = resources

    def cluster_resources(self):
        return self.resources


@pytest.mark.parametrize(
    ('resources', 'settings', 'room', 'gpus'),
    [
        (dict(CPU=16.0, GPU=8.0), {}, 8, 1),
        (dict(CPU=4.0, GPU=8.0), {}, 4, 1),
        (dict(CPU=16.0, GPU=8.0), dict(gpus_per_worker=0.5), 16, 0.5),
        (dict(CPU=16.0, GPU=8.0), dict(workers=3), 3, 1),
        (dict(CPU=16.0, GPU=8.0), dict(gpus_per_worker=0), 16, 0),
        (dict(CPU=16.0), dict(cpus_per_worker=5), 3, 0),
        (dict(CPU=16.0), dict(gpus_per_worker=1), 0, 1),
        ({}, {}, 0, 0),
    ],
)
def test_a_worker_for_each_gpu_or_some_cores(resources, settings, room, gpus):
    settings = RaySettings(**settings)
    found, options = cluster_room(FakeRay(**resources), settings)
    assert found == room
    assert options == dict(num_gpus=gpus, num_cpus=settings.cpus_per_worker)


def test_cluster_that_lets_nobody_in_may_ask_for_a_token():
    """Ray says no more than that it could not connect."""

    def init(**_):
        raise ConnectionError('Failed to connect to Ray cluster')

    with socket.create_server(('127.0.0.1', 0)) as server:
        address = f'127.0.0.1:{server.getsockname()[1]}'
        with pytest.raises(ConnectionError, match='RAY_AUTH_MODE=token'):
            start_ray(SimpleNamespace(init=init), address)


@pytest.fixture
def lost_ray(monkeypatch):
    """A cluster whose head is no more: what needs it never ends."""
    monkeypatch.setattr(ray_cluster, '_HEAD_SECONDS', 0.1)
    over = threading.Event()
    yield SimpleNamespace(
        is_initialized=lambda: False,
        init=lambda **_: None,
        put=lambda value: value,
        cluster_resources=over.wait,
        kill=over.wait,
        shutdown=over.wait,
    )
    over.set()


@pytest.mark.timeout(60)
def test_a_head_that_does_not_answer_ends_the_search(lost_ray, monkeypatch):
    monkeypatch.setattr(module, 'require_ray', lambda: lost_ray)
    with (
        pytest.raises(ClusterLostError, match='lost .* --resume') as error,
        RayEvaluator(local_evaluator) as evaluator,
    ):
        list(evaluator.evaluate(PATHS))
    assert '\n' not in str(error.value)
