"""Processes of a job that die, hang or fail; here each is a thread."""

import collections
import itertools
import json
import threading
import time

import pytest
from kit.jobs import cannot_interrupt, job_of_threads
from kit.scoring import PATHS, local_evaluator
from torch.distributed import HashStore

from detnas_mm.executors.base import Evaluation, LocalEvaluator, one_by_one
from detnas_mm.executors.distributed import DistributedEvaluator
from detnas_mm.executors.job import Job
from detnas_mm.executors.journal import Journal
from detnas_mm.executors.peer import serve
from detnas_mm.executors.watch import JobError, JobLimits


def evaluate(score, world_size=2, *, journal=None, **limits):
    """Evaluates three paths on a job of threads."""
    limits = JobLimits(**limits)
    with job_of_threads(
        world_size,
        lambda: LocalEvaluator(one_by_one(score), 'score'),
        limits=limits,
        journal=journal,
    ) as evaluator:
        return list(evaluator.evaluate(PATHS[:3]))


class Hand:
    """A process that dies: it takes a path and beats no more."""

    def __init__(self, store):
        self.store = store
        self.store.add('tickets', 1)
        self.store.add('beat/1', 1)


def test_a_dead_process_ends_the_search_soon():
    store = HashStore()
    Hand(store)
    journal = Journal()
    evaluator = DistributedEvaluator(
        Job(store, 0, 2),
        local_evaluator(),
        limits=JobLimits(patience=2),
        journal=journal,
        interrupt=cannot_interrupt,
    )
    start = time.monotonic()
    with pytest.raises(JobError, match='rank 1 .* no sign of life'), evaluator:
        list(evaluator.evaluate(PATHS[:4]))
    assert time.monotonic() - start < 30
    # What rank 0 had done meanwhile is not lost.
    assert [journal.get(path) is None for path in PATHS[:4]] == [
        True,
        False,
        False,
        False,
    ]


def test_a_process_that_never_came_is_missed_later(monkeypatch):
    """It may still be loading its data."""
    monkeypatch.setattr('detnas_mm.executors.watch.START_SECONDS', 3)
    evaluator = DistributedEvaluator(
        Job(HashStore(), 0, 2),
        local_evaluator(),
        limits=JobLimits(patience=0.1),
        interrupt=cannot_interrupt,
    )
    start = time.monotonic()
    with evaluator:
        assert len(list(evaluator.evaluate(PATHS[:4]))) == 4
        endless = itertools.chain.from_iterable(
            evaluator.evaluate(PATHS[:4]) for _ in itertools.count()
        )
        with pytest.raises(JobError, match='rank 1'):
            collections.deque(endless, maxlen=1)
    assert time.monotonic() - start > 3


def test_death_of_rank_0_ends_the_others():
    store = HashStore()
    store.add('beat/0', 1)
    with pytest.raises(JobError, match='rank 0 .* no sign of life'):
        serve(
            Job(store, 1, 2),
            local_evaluator(),
            limits=JobLimits(patience=2),
            interrupt=cannot_interrupt,
        )


def test_an_evaluation_that_hangs_ends_the_search():
    def hang(path):
        time.sleep(3.5 if path == PATHS[1] else 0.01)
        return {'score': 1.0}

    with pytest.raises(JobError, match='more than 1 s') as error:
        evaluate(hang, candidate_timeout=1)
    assert '--resume' in str(error.value)


def test_a_result_that_is_lost_ends_the_search():
    """Its process is alive and has nothing to do: only rank 0 can tell."""
    store = HashStore()
    store.add('tickets', 1)
    over = threading.Event()

    def beat():
        while not over.wait(0.1):
            store.add('beat/1', 1)

    threading.Thread(target=beat, daemon=True).start()
    journal = Journal()
    evaluator = DistributedEvaluator(
        Job(store, 0, 2),
        local_evaluator(),
        limits=JobLimits(patience=1, candidate_timeout=1),
        journal=journal,
        interrupt=cannot_interrupt,
    )
    with (
        pytest.raises(JobError, match='nothing has come out for 2 s') as error,
        evaluator,
    ):
        list(evaluator.evaluate(PATHS[:4]))
    over.set()
    assert '--resume' in str(error.value)
    assert [journal.get(path) is None for path in PATHS[:4]] == [
        True,
        False,
        False,
        False,
    ]


def test_a_chunk_may_take_as_long_as_its_candidates():
    def slow(path):
        time.sleep(0.8)
        return {'score': 1.0}

    with pytest.raises(JobError, match=r'more than 0\.3 s'):
        evaluate(slow, 1, candidate_timeout=0.3)
    assert len(evaluate(slow, 1, candidate_timeout=2, chunk=3)) == 3


def test_a_process_of_another_job_is_sent_away():
    """It came to the same port; the search goes on without it."""
    store = HashStore()
    store.add('arrived/1', 1)
    with pytest.raises(JobError, match='another rank 1 .* port'):
        serve(Job(store, 1, 2), local_evaluator())
    assert not store.check(['failure'])
    assert not store.add('tickets', 0)


def test_an_evaluation_is_interrupted_when_another_process_died():
    """It is not waited for: evaluations take half an hour."""
    store = HashStore()
    Hand(store)
    interrupted = threading.Event()

    def long_evaluation(path):
        assert interrupted.wait(30)
        raise KeyboardInterrupt

    evaluator = DistributedEvaluator(
        Job(store, 0, 2),
        LocalEvaluator(one_by_one(long_evaluation), 'score'),
        limits=JobLimits(patience=1),
        interrupt=interrupted.set,
    )
    with pytest.raises(JobError, match='rank 1'), evaluator:
        list(evaluator.evaluate(PATHS[:3]))


def test_what_others_finish_is_on_disk_while_rank_0_evaluates(tmp_path):
    """Rank 0 may be killed in the middle of its own candidate."""
    file = tmp_path / 'journal'
    store = HashStore()
    evaluator = DistributedEvaluator(
        Job(store, 0, 2),
        LocalEvaluator(one_by_one(lambda path: wait()), 'score'),
        journal=Journal(file, 'search'),
        interrupt=cannot_interrupt,
    )
    enough = threading.Event()

    def wait():
        assert enough.wait(30)
        return {'score': 1.0}

    with evaluator:
        evaluations = evaluator.evaluate(PATHS[:3])
        search = threading.Thread(target=list, args=(evaluations,))
        search.start()
        # What rank 1 does.
        result = dict(
            rank=1, path=PATHS[2], fitness=0.25, metrics={}, seconds=2.0
        )
        while store.add('queued', 0) < 3:
            time.sleep(0.01)
        number = store.add('finished', 1) - 1
        store.set(f'finished/{number}', json.dumps(result | dict(error=None)))
        end = time.monotonic() + 20
        while not file.exists() or b'0.25' not in file.read_bytes():
            assert time.monotonic() < end
            time.sleep(0.01)
        again = Journal(file, 'search')
        assert again.get(PATHS[2]) == Evaluation(0.25, {}, 2.0)
        store.add('goodbyes', 1)
        enough.set()
        search.join()


def test_a_process_may_take_several_paths_at_a_time():
    sizes = []

    class Chunks(LocalEvaluator):
        def evaluate(self, paths, bars=()):
            sizes.append(len(paths))
            return super().evaluate(paths, bars)

    with job_of_threads(
        1,
        lambda: Chunks(one_by_one(lambda path: {'score': sum(path)}), 'score'),
        limits=JobLimits(chunk=3),
    ) as evaluator:
        evaluations = list(evaluator.evaluate(PATHS[:8]))
    assert [one.fitness for one in evaluations] == [
        sum(path) for path in PATHS[:8]
    ]
    assert sizes == [3, 3, 2]


def job_with_faulty_rank(journal, score):
    """Rank 1 scores otherwise than rank 0."""
    locals_ = iter([one_by_one(score), one_by_one(slow_score)])
    return job_of_threads(
        2, lambda: LocalEvaluator(next(locals_), 'score'), journal=journal
    )


def slow_score(path):
    time.sleep(0.1)
    return {'score': sum(path)}


def test_a_rank_whose_gpu_is_sick_ends_the_search_and_fails_nobody():
    """It fails at once, and so takes most of the queue."""

    def fail(path):
        raise RuntimeError('CUDA error: an illegal memory access')

    journal = Journal()
    with (
        pytest.raises(JobError, match='rank 1 has failed 5 candidates'),
        job_with_faulty_rank(journal, fail) as evaluator,
    ):
        list(evaluator.evaluate(PATHS))
    known = [one for one in map(journal.get, PATHS) if one is not None]
    assert len(known) >= 5
    assert not [one for one in known if one.error is not None]


def test_what_fails_on_one_rank_alone_is_no_failure():
    failed = []

    def fail_first(path):
        if len(failed) < 4:
            failed.append(path)
            raise RuntimeError('by chance')
        return slow_score(path)

    with job_with_faulty_rank(Journal(), fail_first) as evaluator:
        evaluations = list(evaluator.evaluate(PATHS))
    assert len(failed) == 4
    assert [one.fitness for one in evaluations] == [sum(p) for p in PATHS]


@pytest.mark.parametrize('name', ['patience', 'candidate_timeout', 'chunk'])
def test_limits_out_of_their_range_are_refused(name):
    with pytest.raises(ValueError, match=f'`{name}` must be more than 0'):
        JobLimits(**{name: 0})
