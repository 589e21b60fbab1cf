"""What every executor does: each path gets the result that it has alone."""

from contextlib import contextmanager
from functools import partial

import pytest
from kit.jobs import launched
from kit.scoring import PATHS, attempts, expected, facts, path_evaluator
from kit.toy_search import AnyOrder

from detnas_mm.executors import Serial
from detnas_mm.executors.ray import Ray

EXECUTORS = ['serial', 'any order', 'launched', 'ray']


@pytest.fixture(scope='module')
def log(tmp_path_factory):
    """The file in which each attempt is noted."""
    return tmp_path_factory.mktemp('attempts') / 'log'


@pytest.fixture(scope='module')
def ray_workers(log, ray_cluster):
    """Two workers, which all tests share: they start slowly."""
    with Ray(partial(path_evaluator, log), workers=2) as executor:
        yield executor


@pytest.fixture(params=EXECUTORS)
def executor(request, log):
    """Opens an executor; the log is empty."""
    log.unlink(missing_ok=True)

    @contextmanager
    def opened():
        evaluate = path_evaluator(log)
        if request.param == 'ray':
            yield request.getfixturevalue('ray_workers')
        elif request.param == 'launched':
            build = partial(path_evaluator, log)
            with launched(2, evaluate, build) as executor:
                yield executor
        else:
            kind = Serial if request.param == 'serial' else AnyOrder
            with kind(evaluate) as executor:
                yield executor

    return opened


def test_each_path_is_yielded_once_with_its_result(executor, log):
    with executor() as opened:
        first = facts(list(opened.run(PATHS[:12])))
        second = facts(list(opened.run(PATHS[12:])))
        none = list(opened.run([]))
    assert first == expected(PATHS[:12])
    assert second == expected(PATHS[12:])
    assert none == []
    # One of them fails.
    assert (None, {}, 'RuntimeError: broken') in first.values()
    assert attempts(log) == PATHS


def test_paths_evaluated_ahead_are_yielded_once(executor, log):
    """As a search does: what was yielded is not asked for again."""
    found = []
    with executor() as opened:
        for first, last in ((0, 4), (4, 8), (8, 12)):
            known = {path for path, _ in found}
            now = [p for p in PATHS[first:last] if p not in known]
            ahead = [p for p in PATHS[last : last + 4] if p not in known]
            found += opened.run(now, ahead)
            assert set(PATHS[:last]) <= {path for path, _ in found}
        known = {path for path, _ in found}
        found += opened.run([p for p in PATHS[:16] if p not in known])
    assert facts(found) == expected(PATHS[:16])
    assert attempts(log) == PATHS[:16]


def test_results_come_as_they_finish(executor):
    """A search records each before the last has finished."""
    with executor() as opened:
        results = iter(opened.run(PATHS[:4]))
        path, result = next(results)
        assert path in PATHS[:4]
        assert result.seconds > 0
        rest = list(results)
    assert len(rest) == 3
