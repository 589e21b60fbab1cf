"""What a search says, and sets, while Ray has no worker for it."""

import logging
import os
from types import SimpleNamespace
from unittest import mock

import pytest
from kit.scoring import PATHS, local_evaluator

from detnas_mm.executors.errors import WrongSearchError
from detnas_mm.executors.ray import RayEvaluator, ray
from detnas_mm.executors.ray_cluster import RaySettings, start_ray
from detnas_mm.executors.ray_worker import Worker, why_nobody_works
from detnas_mm.executors.ray_workers import ray_workers

NICENESS = 'RAY_worker_niceness'
TIMEOUT = 'RAY_worker_register_timeout_seconds'


class EnoughError(Exception):
    """Ends a search that would wait for ever."""


class FakeActor:
    """Gives tasks that say what they are of."""

    def __init__(self):
        self.start = SimpleNamespace(remote=lambda: ('start', self))
        self.build = SimpleNamespace(remote=lambda _: ('build', self))


class FakeRay:
    """A cluster that starts the first workers, but never builds one.

    Attributes:
        total: What the cluster has.
        free: What of it nobody uses.
        starts: How many workers are started.
        built: What the building of workers gives, if it ends.
    """

    exceptions = SimpleNamespace(RayError=OSError)

    def __init__(self, total, free, starts=0, built=None):
        self.total = total
        self.free = free
        self.starts = starts
        self.built = built
        self.turns = 0

    def is_initialized(self):
        return True

    def put(self, value):
        return value

    def cluster_resources(self):
        return self.total

    def available_resources(self):
        return self.free

    def remote(self, cls):
        actor = SimpleNamespace(remote=FakeActor)
        return SimpleNamespace(options=lambda **_: actor)

    def kill(self, actor):
        pass

    def wait(self, tasks, timeout):
        self.turns += 1
        if self.turns > 3:
            raise EnoughError
        started = [task for task in tasks if task[0] == 'start'][: self.starts]
        self.starts -= len(started)
        if self.built is not None:
            started += [task for task in tasks if task[0] == 'build']
        return started, tasks

    def get(self, task):
        return self.built if task[0] == 'build' else {'host': 'gpu07'}


@pytest.fixture
def message(monkeypatch, caplog):
    """Waits for a worker; returns what is said in the end."""
    clock = iter(range(0, 10000, 10))
    monkeypatch.setattr(
        ray_workers,
        'time',
        SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda _: None),
    )

    def wait(cluster):
        monkeypatch.setattr(ray, 'require_ray', lambda: cluster)
        caplog.set_level(logging.WARNING)
        with pytest.raises(EnoughError):
            list(RayEvaluator(local_evaluator, RaySettings()).evaluate(PATHS))
        assert 'No worker is there for 20 candidates: ' in caplog.messages[-1]
        return caplog.messages[-1]

    return wait


def test_others_use_the_cluster(message):
    text = message(FakeRay(dict(CPU=4.0), dict(CPU=0.0)))
    assert 'waiting for room' in text


def test_there_is_room_but_no_worker_starts(message):
    text = message(FakeRay(dict(CPU=4.0), dict(CPU=4.0)))
    assert '4 have been starting for' in text
    assert 'busy' in text


def test_workers_are_being_built(message):
    text = message(FakeRay(dict(CPU=4.0), dict(CPU=2.0), starts=2))
    assert '2 are being built, for' in text


def test_a_machine_that_fails_what_others_could_evaluate_is_named():
    """The others are gone."""
    sick = Worker(0, None, 'gpu07', started=True, built=True, retired=True)
    text = why_nobody_works([sick], '', has_room=False)
    assert 'those on gpu07 fail what others could evaluate' in text


def test_why_a_worker_could_not_be_built_is_said(message):
    error = 'on gpu07 in /search: FileNotFoundError: no data'
    text = message(FakeRay(dict(CPU=1.0), dict(CPU=1.0), 1, dict(error=error)))
    assert f'the last one could not be built ({error})' in text
    assert 'room' not in text


def test_another_search_of_a_worker_ends_that_of_the_driver(monkeypatch):
    cluster = FakeRay(
        dict(CPU=1.0), dict(CPU=1.0), 1, dict(wrong_search='on gpu07')
    )
    monkeypatch.setattr(ray, 'require_ray', lambda: cluster)
    with pytest.raises(WrongSearchError, match='on gpu07'):
        list(RayEvaluator(local_evaluator, RaySettings()).evaluate(PATHS))


@pytest.fixture
def settings_of_ray():
    """Gives what Ray finds in the environment when it is started."""
    found = {}

    def init(**_):
        found.update({n: os.environ.get(n) for n in (NICENESS, TIMEOUT)})

    def started(address):
        start_ray(SimpleNamespace(init=init), address)
        return found

    with mock.patch.dict(os.environ):
        for name in (NICENESS, TIMEOUT, 'RAY_ADDRESS'):
            os.environ.pop(name, None)
        yield started


def test_own_cluster_starts_workers_on_a_busy_machine(settings_of_ray):
    found = settings_of_ray(None)
    assert found[NICENESS] == '0'
    assert int(found[TIMEOUT]) > 60


def test_settings_of_the_user_stay(settings_of_ray):
    os.environ[NICENESS] = '5'
    os.environ[TIMEOUT] = '7'
    assert settings_of_ray('local') == {NICENESS: '5', TIMEOUT: '7'}


def test_cluster_of_others_keeps_its_settings(settings_of_ray):
    assert settings_of_ray('auto') == {NICENESS: None, TIMEOUT: None}
