"""Workers of Ray that fail where others do not; here all are stand-ins."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from kit.scoring import BROKEN, facts, fail, local_evaluator
from kit.spaces import FOUR_BLOCKS

from detnas_mm.executors.base import LocalEvaluator, one_by_one
from detnas_mm.executors.ray import RayEvaluator, ray
from detnas_mm.executors.ray_cluster import RaySettings
from detnas_mm.executors.ray_scorer import Scorer

SICK, FINE = 'gpu01', 'gpu02'
PATHS = list(FOUR_BLOCKS.all_paths())[:60]


class StandInActor:
    """A worker that does what it is to do when it is asked for its result."""

    def __init__(self, host, evaluator):
        self.host = host
        self.seen = []
        scorer = Scorer()

        def evaluate(paths, bars):
            self.seen.append(tuple(paths))
            return scorer.evaluate(paths, bars)

        self.start = self._method(lambda: {'host': host})
        self.build = self._method(lambda _: scorer.build(lambda: evaluator))
        self.evaluate = self._method(evaluate)

    def _method(self, function):
        def remote(*args):
            return Task(self.host, lambda: function(*args))

        return SimpleNamespace(remote=remote)


@dataclass(frozen=True)
class Task:
    """What a worker on a machine is to do."""

    host: str
    run: Callable


@dataclass
class StandInRay:
    """A cluster of machines with room for one worker each.

    Attributes:
        sick: How many workers on the first machine are sick, from its first.
        slowness: In how many turns a worker on the other one does something.
        machines: Their names.
    """

    sick: int
    slowness: int = 1
    machines: tuple = (SICK, FINE)
    exceptions = SimpleNamespace(RayError=OSError)

    def __post_init__(self):
        self.actors = []
        self.killed = []
        self.turns = 0

    def is_initialized(self):
        return True

    def put(self, value):
        return value

    def cluster_resources(self):
        return dict(CPU=float(len(self.machines)))

    def remote(self, cls):
        return SimpleNamespace(
            options=lambda **_: SimpleNamespace(remote=self._start)
        )

    def _start(self):
        used = {one.host for one in self.actors if one not in self.killed}
        host = next(one for one in self.machines if one not in used)
        earlier = sum(one.host == host for one in self.actors)
        is_sick = host == SICK and earlier < self.sick
        evaluator = (
            LocalEvaluator(one_by_one(fail), 'score')
            if is_sick
            else local_evaluator()
        )
        self.actors.append(StandInActor(host, evaluator))
        return self.actors[-1]

    def kill(self, actor):
        self.killed.append(actor)

    def wait(self, tasks, timeout):
        self.turns += 1
        fine = self.turns % self.slowness == 0
        return [one for one in tasks if one.host == SICK or fine], []

    def get(self, task):
        return task.run()


@pytest.fixture
def open_ray(monkeypatch, caplog):
    """Opens the executor on a cluster."""
    caplog.set_level(logging.WARNING)
    # A worker is hired as soon as there is room.
    monkeypatch.setattr('detnas_mm.executors.ray_workers.POLL_SECONDS', 0)

    def open_on(cluster, **settings):
        monkeypatch.setattr(ray, 'require_ray', lambda: cluster)
        return RayEvaluator(local_evaluator, RaySettings(**settings))

    return open_on


@pytest.fixture
def evaluate(open_ray):
    """Evaluates all paths on a cluster."""

    def run(cluster, paths=PATHS, **settings):
        with open_ray(cluster, **settings) as evaluator:
            return list(evaluator.evaluate(paths))

    return run


@pytest.fixture(scope='module')
def expected():
    return facts(local_evaluator().evaluate(PATHS))


@pytest.mark.parametrize('chunk', [1, 3])
def test_what_fails_on_one_worker_alone_is_no_failure(
    evaluate, expected, caplog, chunk
):
    """A new process on that machine does better."""
    cluster = StandInRay(sick=1)
    assert facts(evaluate(cluster, chunk=chunk)) == expected
    first, _, second = cluster.actors
    assert (first.host, second.host) == (SICK, SICK)
    assert second.seen
    (warning,) = caplog.messages
    assert f'worker on {SICK} has failed ' in warning
    assert 'others could evaluate; another one takes its place' in warning


def test_a_machine_that_stays_sick_is_named_and_gets_no_work(
    evaluate, expected, caplog
):
    """The search goes on with the others, and fails nobody."""
    cluster = StandInRay(sick=99, slowness=3)
    assert [one.fitness for one in evaluate(cluster)] == [
        one for one, *_ in expected
    ]
    # Its second worker keeps a third one from its place.
    assert [one.host for one in cluster.actors] == [SICK, FINE, SICK]
    assert len(caplog.messages) == 2
    assert f'worker on {SICK} has failed 5 candidates' in caplog.messages[1]
    assert 'it gets no more of them; look at the GPU' in caplog.messages[1]


def test_a_path_that_ends_workers_fails_alone(evaluate, caplog):
    """Not with those of which it shared the batches."""

    class Deadly(StandInRay):
        """Workers die over one path."""

        def get(self, task):
            result = task.run()
            (worker,) = [a for a in self.actors if a not in self.killed]
            if worker.seen and PATHS[1] in worker.seen[-1]:
                raise OSError('out of memory')
            return result

    paths = PATHS[:4]
    first, deadly, *rest = evaluate(
        Deadly(sick=0, machines=(FINE,)), paths, chunk=4
    )
    assert deadly.error.startswith('3 workers in a row')
    assert all(one.error is None for one in (first, *rest))


def test_a_second_try_is_that_of_another_worker(evaluate):
    cluster = StandInRay(sick=0)
    evaluate(cluster)
    tried = [one for one in cluster.actors if (BROKEN,) in one.seen]
    assert len(tried) == 2


def test_a_worker_without_others_tries_twice_itself(evaluate):
    cluster = StandInRay(sick=0, machines=(FINE,))
    (evaluation,) = evaluate(cluster, [BROKEN])
    assert evaluation.error == 'RuntimeError: broken'
    (worker,) = cluster.actors
    assert worker.seen == [(BROKEN,), (BROKEN,)]


def test_a_machine_without_work_keeps_nobody_from_hiring(open_ray):
    """Its worker is not counted where one path is left."""

    class Shrinking(StandInRay):
        """The other machine is lost over the first path of all."""

        def get(self, task):
            fine = [one for one in self.actors if one.host == FINE]
            result = task.run()
            if len(fine) == 1 and fine[0].seen[-1:] == [(PATHS[0],)]:
                self.killed.append(fine[0])
                raise OSError('the node died')
            return result

    cluster = Shrinking(sick=99)
    with open_ray(cluster) as evaluator:
        assert list(evaluator.evaluate(PATHS[1:]))
        (evaluation,) = evaluator.evaluate(PATHS[:1])
    assert evaluation.fitness == 0.0
    assert [one.host for one in cluster.actors] == [SICK, FINE, SICK, FINE]
