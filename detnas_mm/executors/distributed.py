"""Evaluation of candidates by all processes of a job, one candidate each.

Rank 0 decides what is evaluated, and queues it in the store that the
processes share; every process, rank 0 too, takes the next path as soon as it
is free. What comes out does not depend on their number.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import TracebackType

from detnas_mm.executors.agreement import publish_search
from detnas_mm.executors.base import Evaluation, LocalEvaluator
from detnas_mm.executors.job import Job
from detnas_mm.executors.journal import Journal
from detnas_mm.executors.peer import BARS, GOODBYES, Peer
from detnas_mm.executors.second_tries import SecondTries
from detnas_mm.executors.watch import (
    POLL_SECONDS,
    STOP,
    JobError,
    JobLimits,
    Watch,
)
from detnas_mm.structures import ArchPath, Rungs, SearchHeader
from detnas_mm.utils.interrupts import (
    expect_ended_children,
    interrupt_main_thread,
)

# How long the others may take to end.
_GOODBYE_SECONDS = 10
_SHORT_GOODBYE_SECONDS = 2


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
        # Those that hang end themselves before.
        self._most_waiting = (
            limits.candidate_timeout * limits.chunk + limits.patience
        )
        self._waiting_since = time.monotonic()
        self._seen = 0
        self._missing: list[int] = []
        self._tries = SecondTries()
        # Both threads take what has finished.
        self._guard = threading.Lock()
        publish_search(job, header)
        self._watch = Watch(
            job, limits, poll=self._collect, interrupt=interrupt
        )
        self._peer = Peer(job, local, self._watch, limits.chunk)

    def evaluate(
        self,
        paths: Sequence[ArchPath],
        ahead: Sequence[ArchPath] = (),
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
            JobError: If another process died or hangs, or a result is lost.
        """
        self._waiting_since = time.monotonic()
        self.store.set(BARS, json.dumps(bars))
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
            if self.store.add(GOODBYES, 0) >= self.num_others:
                return
            time.sleep(POLL_SECONDS)

    def _step(self) -> None:
        """Evaluates the next path here, or waits for others."""
        self._watch.check()
        if self._peer.work(partial(self._take, 0)):
            return
        time.sleep(POLL_SECONDS)
        if time.monotonic() - self._waiting_since > self._most_waiting:
            raise JobError(
                f'nothing has come out for {self._most_waiting:g} s, though '
                'no process has died or hangs: the result of a candidate is '
                'lost; go on with --resume'
            )

    def _queue(self, paths: Sequence[ArchPath]) -> None:
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

    def _take(self, rank: int, path: ArchPath, evaluation: Evaluation) -> None:
        """Keeps what a rank gives; another one tries again what failed.

        Raises:
            JobError: If the rank fails where others do not.
        """
        self._waiting_since = time.monotonic()
        if not self.num_others:
            self.journal.add(path, evaluation)
            return
        with self._guard:
            final = self._tries.take(rank, path, evaluation)
            if final is None:
                self._ask_again((rank + 1) % (self.num_others + 1), path)
                return
            self.journal.add(path, final)
            for sick, number in self._tries.sick().items():
                raise JobError(
                    f'rank {sick} has failed {number} candidates in a row '
                    'that others could evaluate: look at its log, its GPU '
                    'and its disk; go on with --resume'
                )

    def _ask_again(self, rank: int, path: ArchPath) -> None:
        number = self.store.add(f'second_tries/{rank}', 1) - 1
        self.store.set(f'second_try/{rank}/{number}', json.dumps(path))
