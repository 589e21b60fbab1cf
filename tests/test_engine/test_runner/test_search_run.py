"""A search without a model: generations that follow or overlap."""

import contextlib
import threading
import time
from types import SimpleNamespace

import pytest
from kit.digits_runs import read_candidates, without_seconds
from kit.jobs import job_of_threads
from kit.records import HEADER
from kit.spaces import FOUR_BLOCKS, additive_fitness

from detnas_mm.cost import Bounds, Constraint
from detnas_mm.engine.runner.search_run import SearchRun
from detnas_mm.executors.base import LocalEvaluator, one_by_one
from detnas_mm.executors.journal import Journal
from detnas_mm.executors.serial import InProcessEvaluator
from detnas_mm.search import Evolution
from detnas_mm.structures import SearchRecord

FITNESS = additive_fitness(FOUR_BLOCKS, 0)
SILENT = SimpleNamespace(
    report=lambda *_: None,
    report_generation=lambda *_: None,
    finish=lambda *_: None,
)


class Score:
    """Scores paths; takes longest for the first of a generation of 5."""

    def __init__(self, fails=lambda path: False):
        self.fails = fails
        self.calls = []
        self.running = 0
        self.most = 0
        self.lock = threading.Lock()

    def __call__(self, path):
        with self.lock:
            self.calls.append(path)
            self.running += 1
            self.most = max(self.most, self.running)
            slow = len(self.calls) % 5 == 1
        time.sleep(0.3 if slow else 0.01)
        with self.lock:
            self.running -= 1
        if self.fails(path):
            raise RuntimeError('lost')
        return {'score': FITNESS(path)}


def search(folder, score, *, workers=1, lookahead=0, generations=4):
    """Runs or goes on with a search; returns its candidates."""
    folder.mkdir(exist_ok=True)
    journal = Journal(folder / 'journal', 'search')

    def local():
        return LocalEvaluator(one_by_one(score), 'score', attempts=1)

    executor = contextlib.nullcontext(InProcessEvaluator(local(), journal))
    if workers > 1:
        executor = job_of_threads(workers, local, journal=journal)
    with (
        SearchRecord.open(folder / 'search_record.jsonl', HEADER) as record,
        executor as evaluator,
    ):
        SearchRun(
            algorithm=Evolution(FOUR_BLOCKS, population=5, parents=2, seed=3),
            constraint=Constraint(FOUR_BLOCKS, Bounds()),
            evaluator=evaluator,
            record=record,
            progress=SILENT,
            on_best=lambda best: None,
            generations=generations,
            lookahead=lookahead,
            max_failures=10,
        ).run()
    return without_seconds(read_candidates(folder))


@pytest.mark.parametrize('lookahead', [0, 1, 2])
def test_workers_do_not_change_the_record(tmp_path, lookahead):
    settings = dict(lookahead=lookahead)
    one = search(tmp_path / 'one', Score(), **settings)
    score = Score()
    three = search(tmp_path / 'three', score, workers=3, **settings)
    assert one == three
    assert len(set(score.calls)) == len(score.calls) == 20
    assert [one['generation'] for one in three] == [
        index // 5 for index in range(20)
    ]


@pytest.mark.parametrize(('lookahead', 'begun'), [(0, 5), (1, 10)])
def test_idle_workers_begin_with_the_next_generation(
    tmp_path, lookahead, begun
):
    """While the first candidate runs, all others that may be are done."""
    counts = []

    class Waits(Score):
        def __call__(self, path):
            if not self.calls:
                self.calls.append(path)
                end = time.monotonic() + 20
                while len(self.calls) < begun and time.monotonic() < end:
                    time.sleep(0.01)
                # Would there be more to do?
                time.sleep(0.5)
                counts.append(len(self.calls))
                return {'score': FITNESS(path)}
            return super().__call__(path)

    score = Waits()
    search(
        tmp_path / 'search',
        score,
        workers=3,
        lookahead=lookahead,
        generations=3,
    )
    assert counts == [begun]


def test_lookahead_delays_the_parents_by_a_generation(tmp_path):
    """The second generation is random, too: none has been told yet."""
    ahead = search(tmp_path / 'ahead', Score(), lookahead=1)
    waiting = search(tmp_path / 'waiting', Score())
    assert {one['origin'] for one in ahead[:10]} == {'random'}
    assert {one['origin'] for one in ahead[10:]} > {'mutation'}
    assert {one['origin'] for one in waiting[5:10]} > {'mutation'}
    assert ahead[:5] == waiting[:5]


@pytest.mark.parametrize('lookahead', [0, 1])
def test_search_can_be_prolonged(tmp_path, lookahead):
    settings = dict(lookahead=lookahead)
    whole = search(tmp_path / 'whole', Score(), **settings)
    search(tmp_path / 'part', Score(), generations=2, **settings)
    score = Score()
    assert search(tmp_path / 'part', score, workers=3, **settings) == whole
    assert len(score.calls) == 10
