"""Evaluation of candidates by all processes of a job, one candidate each.

Rank 0 decides what is evaluated, and queues it in the store that the
processes share; every process, rank 0 too, takes the next path as soon as it
is free. What comes out does not depend on their number.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from types import TracebackType

from torch.distributed import DistError

from detnas_mm.interrupts import (
    expect_ended_children,
    interrupt_main_thread,
)
from detnas_mm.structures import Path, Rungs, SearchHeader

from .agreement import is_same_search, publish_search, require_own_number
from .job import Job
from .journal import Journal
from .local import Evaluation, LocalEvaluator
from .second_tries import SecondTries
from .watch import (
    POLL_SECONDS,
    STOP,
    JobError,
    JobLimits,
    JobStopped,
    Watch,
    report_failure,
)

_GOODBYES = 'goodbyes'
# Those of the paths in the queue.
_BARS = 'bars'
# How long the others may take to end.
_GOODBYE_SECONDS = 10
_SHORT_GOODBYE_SECONDS = 2


class _Peer:
    """What each process does: takes paths from the queue, evaluates them."""

    def __init__(
        self, job: Job, local: LocalEvaluator, watch: Watch, chunk: int
    ) -> None:
        self.store = job.store
        self.rank = job.rank
        # With others, a second try is theirs.
        self.local = local if job.world_size == 1 else local.with_one_try()
        self.watch = watch
        self.chunk = chunk
        # Places in the queue that are this process's, filled or not.
        self._tickets: list[int] = []
        self._num_second_tries = 0

    def work(self, deliver: Callable[[Path, Evaluation], None]) -> bool:
        """Evaluates the next paths that are its own, if there are any."""
        paths = self._second_try() or self._next_paths()
        if not paths:
            return False
        bars = json.loads(self.store.get(_BARS))
        with self.watch.evaluation():
            evaluations = self.local.evaluate(paths, bars)
            for path, evaluation in zip(paths, evaluations, strict=True):
                deliver(path, evaluation)
        return True

    def _second_try(self) -> list[Path]:
        """Returns a path that has failed elsewhere, if there is one."""
        key = f'second_try/{self.rank}/{self._num_second_tries}'
        if not self.store.check([key]):
            return []
        self._num_second_tries += 1
        return [tuple(json.loads(self.store.get(key)))]

    def _next_paths(self) -> list[Path]:
        """Returns what is queued for this process, if it is."""
        while len(self._tickets) < self.chunk:
            self._tickets.append(self.store.add('tickets', 1) - 1)
        queued = self.store.add('queued', 0)
        ready = [ticket for ticket in self._tickets if ticket < queued]
        paths = [
            tuple(json.loads(self.store.get(f'path/{ticket}')))
            for ticket in ready
        ]
        self._tickets = self._tickets[len(ready) :]
        return paths


class DistributedEvaluator:
    """Evaluates candidates on all processes of a job: what rank 0 does.

    To be used in a ``with`` statement, at whose end the other processes end.

    Args:
        job: The processes.
        local: Evaluates candidates in this process.
        limits: What the processes may take.
        journal: Keeps what has finished until it is recorded.
        header: What defines the search; the others must have the same.
        interrupt: Interrupts this process's evaluation.
    """

    def __init__(
        self,
        job: Job,
        local: LocalEvaluator,
        *,
        limits: JobLimits | None = None,
        journal: Journal | None = None,
        header: SearchHeader | None = None,
        interrupt: Callable[[], None] = interrupt_main_thread,
    ) -> None:
        limits = limits or JobLimits()
        self.store = job.store
        self.num_others = job.world_size - 1
        self.journal = journal or Journal()
        self._seen = 0
        self._missing: list[int] = []
        self._tries = SecondTries()
        # Both threads take what has finished.
        self._guard = threading.Lock()
        publish_search(job, header)
        self._watch = Watch(
            job, limits, poll=self._collect, interrupt=interrupt
        )
        self._peer = _Peer(job, local, self._watch, limits.chunk)

    def evaluate(
        self,
        paths: Sequence[Path],
        ahead: Sequence[Path] = (),
        bars: Rungs = (),
    ) -> Iterator[Evaluation]:
        """Yields the evaluation of each path, in the order of the paths.

        Args:
            paths: The paths.
            ahead: What will be asked for next, for processes that would
                otherwise have nothing to do.
            bars: Numbers of images, each with the score below which a path
                is dropped.

        Raises:
            UnknownMetricError: If the evaluator does not give the metric.
            JobError: If another process died or hangs.
        """
        self.store.set(_BARS, json.dumps(bars))
        self._queue(self.journal.ask([*paths, *ahead]))
        yield from self.journal.wait_for(paths, self._step)

    def __enter__(self) -> 'DistributedEvaluator':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(in_haste=error is not None)
        # It was the watch that interrupted the evaluation.
        if isinstance(error, KeyboardInterrupt) and self._watch.error:
            raise self._watch.error from None

    def close(self, in_haste: bool = False) -> None:
        """Keeps what others have finished, and lets them end.

        Args:
            in_haste: Whether not to wait for them for long: they may be
                dead, or stopped as well.
        """
        if in_haste:
            expect_ended_children()
        self._watch.end()
        self.store.set(STOP, '1')
        # Rank 0 may be the one that keeps the store.
        patience = _SHORT_GOODBYE_SECONDS if in_haste else _GOODBYE_SECONDS
        end = time.monotonic() + patience
        while time.monotonic() < end:
            if self.store.add(_GOODBYES, 0) >= self.num_others:
                return
            time.sleep(POLL_SECONDS)

    def _step(self) -> None:
        """Evaluates the next path here, or waits for others."""
        self._watch.check()
        if not self._peer.work(partial(self._take, 0)):
            time.sleep(POLL_SECONDS)

    def _queue(self, paths: Sequence[Path]) -> None:
        for path in paths:
            number = self.store.add('queued', 0)
            self.store.set(f'path/{number}', json.dumps(path))
            self.store.add('queued', 1)

    def _collect(self) -> None:
        """Takes what others have finished; called by the watch."""
        finished = self.store.add('finished', 0)
        self._missing += range(self._seen, finished)
        self._seen = finished
        for number in list(self._missing):
            key = f'finished/{number}'
            if not self.store.check([key]):
                continue
            result = json.loads(self.store.get(key))
            self._missing.remove(number)
            path = tuple(result.pop('path'))
            rank = result.pop('rank')
            self._take(rank, path, Evaluation(**result))

    def _take(self, rank: int, path: Path, evaluation: Evaluation) -> None:
        """Keeps what a rank gives; another one tries again what failed.

        Raises:
            JobError: If the rank fails where others do not.
        """
        if not self.num_others:
            self.journal.add(path, evaluation)
            return
        with self._guard:
            final = self._tries.take(rank, path, evaluation)
            if final is None:
                self._ask_again((rank + 1) % (self.num_others + 1), path)
                return
            self.journal.add(path, final)
            self._tries.require_no_sick_rank()

    def _ask_again(self, rank: int, path: Path) -> None:
        number = self.store.add(f'second_tries/{rank}', 1) - 1
        self.store.set(f'second_try/{rank}/{number}', json.dumps(path))


def serve(
    job: Job,
    local: LocalEvaluator,
    *,
    limits: JobLimits | None = None,
    header: SearchHeader | None = None,
    interrupt: Callable[[], None] = interrupt_main_thread,
) -> None:
    """Evaluates what rank 0 asks for, until it says stop.

    Args:
        job: The processes.
        local: Evaluates candidates in this process.
        limits: What the processes may take.
        header: What defines the search here.
        interrupt: Interrupts this process's evaluation.

    Raises:
        JobError: If rank 0 died or has another search, another process has
            this rank, or this one hangs.
    """
    limits = limits or JobLimits()
    require_own_number(job)
    watch = Watch(job, limits, interrupt=interrupt)
    peer = _Peer(job, local, watch, limits.chunk)

    def deliver(path: Path, evaluation: Evaluation) -> None:
        number = job.store.add('finished', 1) - 1
        result = json.dumps(
            {'rank': job.rank, 'path': path, **asdict(evaluation)}
        )
        job.store.set(f'finished/{number}', result)

    agreed = False
    try:
        while not job.store.check([STOP]):
            watch.check()
            agreed = agreed or is_same_search(job, header)
            if not (agreed and peer.work(deliver)):
                time.sleep(POLL_SECONDS)
        job.store.add(_GOODBYES, 1)
    except (JobError, KeyboardInterrupt) as error:
        # The watch has interrupted the evaluation, unless the user has.
        if watch.error is None:
            if isinstance(error, JobError):
                report_failure(job, error)
            raise
        if not isinstance(watch.error, JobStopped):
            raise watch.error from None
        with contextlib.suppress(DistError):
            job.store.add(_GOODBYES, 1)
    except DistError as error:
        raise JobError('the connection to rank 0 was lost') from error
    except Exception as error:
        # An unknown metric, say.
        report_failure(job, error)
        raise
    finally:
        watch.end()
