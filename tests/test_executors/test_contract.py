"""What every executor must do: the same paths give the same evaluations."""

import os
from contextlib import contextmanager
from functools import partial

import pytest
from kit.jobs import job_of_threads
from kit.scoring import (
    BROKEN,
    PATHS,
    UNKNOWN,
    attempts,
    facts,
    local_evaluator,
)

from detnas_mm.executors.base import Evaluation, UnknownMetricError
from detnas_mm.executors.journal import Journal
from detnas_mm.executors.ray import RayEvaluator
from detnas_mm.executors.ray_cluster import RaySettings
from detnas_mm.executors.serial import InProcessEvaluator
from detnas_mm.structures import Status

EXECUTORS = ['in process', '1 rank', '3 ranks', 'ray']


@pytest.fixture(scope='module')
def log(tmp_path_factory):
    """The file in which each attempt is noted."""
    return tmp_path_factory.mktemp('attempts') / 'log'


@pytest.fixture(scope='module')
def ray_workers(log, ray_cluster):
    """Two workers that all tests here share: they start slowly."""
    build = partial(local_evaluator, log)
    with RayEvaluator(build, RaySettings(workers=2)) as evaluator:
        yield evaluator


@pytest.fixture(params=EXECUTORS)
def executor(request, log):
    """Opens an executor with a journal, and an empty log."""
    log.unlink(missing_ok=True)

    @contextmanager
    def open_executor(journal=None):
        journal = journal or Journal()
        kind = request.param
        if kind == 'in process':
            yield InProcessEvaluator(local_evaluator(log), journal)
        elif kind == 'ray':
            workers = request.getfixturevalue('ray_workers')
            workers.journal = journal
            yield workers
        else:
            with job_of_threads(
                int(kind[0]), lambda: local_evaluator(log), journal=journal
            ) as evaluator:
                yield evaluator

    return open_executor


@pytest.fixture(scope='module')
def expected():
    """What the evaluations of all paths are."""
    return facts(local_evaluator().evaluate(PATHS))


def test_evaluations_come_in_the_order_of_the_paths(executor, log, expected):
    with executor() as evaluator:
        first = list(evaluator.evaluate(PATHS))
        second = list(evaluator.evaluate(PATHS[:3]))
    assert facts(first) == expected
    assert facts(second) == expected[:3]
    assert expected[7][0] is None
    assert expected[7][2] == 'RuntimeError: broken'
    assert all(one.seconds > 0 for one in first)
    assert len({fact[0] for fact in expected}) > 5
    # Each once, but for the one that failed and was tried again.
    assert attempts(log) == sorted([*PATHS, BROKEN, *PATHS[:3]])


def test_what_is_in_the_journal_is_not_evaluated(executor, log, expected):
    journal = Journal()
    for path in (PATHS[2], PATHS[5]):
        journal.add(path, Evaluation(12.5))
    with executor(journal) as evaluator:
        evaluations = list(evaluator.evaluate(PATHS[:6]))
    assert [one.fitness for one in evaluations] == [
        12.5 if index in (2, 5) else expected[index][0] for index in range(6)
    ]
    assert attempts(log) == [PATHS[0], PATHS[1], PATHS[3], PATHS[4]]


def test_what_was_begun_ahead_is_not_evaluated_again(executor, log, expected):
    with executor() as evaluator:
        first = list(evaluator.evaluate(PATHS[:4], PATHS[8:12]))
        second = list(evaluator.evaluate(PATHS[8:12], PATHS[12:13]))
        third = list(evaluator.evaluate(PATHS[12:13]))
    assert facts(first) == expected[:4]
    assert facts(second) == expected[8:12]
    assert facts(third) == expected[12:13]
    assert attempts(log) == [*PATHS[:4], *PATHS[8:13]]


def test_candidates_below_the_bars_of_a_race_are_dropped(executor, expected):
    with executor() as evaluator:
        raced = list(evaluator.evaluate(PATHS[:12], bars=((50, 0.6),)))
        free = list(evaluator.evaluate(PATHS[:12]))
    assert facts(free) == expected[:12]
    for one, (fitness, metrics, error) in zip(raced, expected, strict=False):
        if fitness is None or fitness >= 0.6:
            assert (one.fitness, one.metrics, one.error, one.rungs) == (
                fitness, metrics, error, (),
            )  # fmt: skip
        else:
            assert one.status is Status.DROPPED
            assert one.rungs == ((50, fitness),)
    assert {one.status for one in raced} == set(Status)


def test_nothing_is_left_in_the_journal_when_all_is_recorded(
    executor, tmp_path
):
    file = tmp_path / 'journal'
    with executor(Journal(file)) as evaluator:
        for _ in evaluator.evaluate(PATHS[:6]):
            pass
    assert os.listdir(tmp_path) == []


def test_unknown_metric_ends_the_search(executor):
    """The last of the tests: what was asked for remains so."""
    with (
        pytest.raises(UnknownMetricError, match='accuracy/top1'),
        executor() as evaluator,
    ):
        list(evaluator.evaluate([PATHS[0], UNKNOWN]))
