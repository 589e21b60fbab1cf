"""What each process of a job does: it evaluates what is queued for it."""

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict

from torch.distributed import DistError

from detnas_mm.executors.agreement import is_same_search, require_own_number
from detnas_mm.executors.base import Evaluation, LocalEvaluator
from detnas_mm.executors.job import Job
from detnas_mm.executors.watch import (
    POLL_SECONDS,
    STOP,
    JobError,
    JobLimits,
    JobStopped,
    Watch,
    report_failure,
)
from detnas_mm.structures import ArchPath, SearchHeader
from detnas_mm.utils.interrupts import interrupt_main_thread

GOODBYES = 'goodbyes'
# Those of the paths in the queue.
BARS = 'bars'


class Peer:
    """Takes paths from the queue, and evaluates them.

    Args:
        job: The processes.
        local: Evaluates candidates in this process.
        watch: Looks after the others.
        chunk: How many paths to take at a time.
    """

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

    def work(self, deliver: Callable[[ArchPath, Evaluation], None]) -> bool:
        """Evaluates the next paths that are its own, if there are any."""
        paths = self._second_try() or self._next_paths()
        if not paths:
            return False
        bars = json.loads(self.store.get(BARS))
        with self.watch.evaluation():
            evaluations = self.local.evaluate(paths, bars)
            for path, evaluation in zip(paths, evaluations, strict=True):
                deliver(path, evaluation)
        return True

    def _second_try(self) -> list[ArchPath]:
        """Returns a path that has failed elsewhere, if there is one."""
        key = f'second_try/{self.rank}/{self._num_second_tries}'
        if not self.store.check([key]):
            return []
        self._num_second_tries += 1
        return [tuple(json.loads(self.store.get(key)))]

    def _next_paths(self) -> list[ArchPath]:
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
    peer = Peer(job, local, watch, limits.chunk)

    def deliver(path: ArchPath, evaluation: Evaluation) -> None:
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
        job.store.add(GOODBYES, 1)
    except (JobError, KeyboardInterrupt) as error:
        # The watch has interrupted the evaluation, unless the user has.
        if watch.error is None:
            if isinstance(error, JobError):
                report_failure(job, error)
            raise
        if not isinstance(watch.error, JobStopped):
            raise watch.error from None
        with contextlib.suppress(DistError):
            job.store.add(GOODBYES, 1)
    except DistError as error:
        raise JobError('the connection to rank 0 was lost') from error
    except Exception as error:
        # An unknown metric, say.
        report_failure(job, error)
        raise
    finally:
        watch.end()
