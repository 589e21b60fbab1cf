"""Signs of life between the processes of a job."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch.distributed import DistError, Store

from detnas_mm.executors.base import UnknownMetricError
from detnas_mm.executors.job import START_SECONDS, Job
from detnas_mm.utils.errors import InputError

STOP = 'stop'
_FAILURE = 'failure'
POLL_SECONDS = 0.05
_BEAT_SECONDS = 1.0
# An error that the main thread does not heed ends the process.
_GRACE_SECONDS = 30.0
_WATCHDOG_SECONDS = 1.0


class JobError(RuntimeError):
    """Something in another process of the job went wrong."""


class JobStopped(JobError):  # noqa: N818
    """Rank 0 has ended the search."""


@dataclass(frozen=True, kw_only=True)
class JobLimits:
    """What the processes of a job may take.

    Attributes:
        patience: Seconds without a sign of life after which a process counts
            as dead.
        candidate_timeout: Seconds that an evaluation may take, of which a
            process does ``chunk`` at a time; then it counts as hanging.
        chunk: How many paths a process takes at a time.

    Raises:
        InputError: If a setting is out of its range.
    """

    patience: float = 60.0
    candidate_timeout: float = 14400.0
    chunk: int = 1

    def __post_init__(self) -> None:
        for name in ('patience', 'candidate_timeout', 'chunk'):
            if getattr(self, name) <= 0:
                raise InputError(
                    f'`{name}` must be more than 0, got {getattr(self, name)}'
                )


class Watch:
    """A thread that gives signs of life, and looks for those of others.

    Rank 0 looks after all others, all others after rank 0. What it finds
    wrong becomes ``error``, and an evaluation that runs is interrupted.

    Args:
        job: The processes.
        limits: What they may take.
        poll: Called at every turn, many times a second.
        interrupt: Interrupts the evaluation.
    """

    def __init__(
        self,
        job: Job,
        limits: JobLimits,
        *,
        poll: Callable[[], None] = lambda: None,
        interrupt: Callable[[], None],
    ) -> None:
        self.error: Exception | None = None
        self._job = job
        self._limits = limits
        self._poll = poll
        self._interrupt = interrupt
        others = range(1, job.world_size) if job.rank == 0 else [0]
        now = time.monotonic()
        self._beats = dict.fromkeys(others, (0, now))
        self._busy_since: float | None = None
        # Held where the evaluation must not begin or end.
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._turns = 0
        self._thread.start()
        threading.Thread(target=self._run_watchdog, daemon=True).start()

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """Says that this process evaluates while the block runs."""
        with self._guard:
            self.check()
            self._busy_since = time.monotonic()
        try:
            yield
        finally:
            with self._guard:
                self._busy_since = None
        self.check()

    def check(self) -> None:
        """Raises the error that was found, if there is one."""
        if self.error is not None:
            raise self.error

    def end(self) -> None:
        """Ends the thread."""
        self._ended.set()
        self._thread.join(_GRACE_SECONDS)

    def _run(self) -> None:
        next_beat = time.monotonic()
        try:
            while not self._ended.wait(POLL_SECONDS):
                self._turns += 1
                self._poll()
                if time.monotonic() >= next_beat:
                    next_beat = time.monotonic() + _BEAT_SECONDS
                    self._look()
        except DistError:
            self._fail(JobError('the connection to rank 0 was lost'))
        except Exception as error:
            self._fail(error)

    def _run_watchdog(self) -> None:
        """Ends the process should the watch itself wait for ever.

        That is so when the machine of rank 0 freezes or leaves the network:
        the connection is there, and nothing answers. Seconds are counted one
        by one, so that none count while this process is stopped.
        """
        seen, silent = -1, 0
        limit = self._limits.patience + _GRACE_SECONDS
        while not self._ended.wait(_WATCHDOG_SECONDS):
            silent = silent + 1 if seen == self._turns else 0
            seen = self._turns
            if silent * _WATCHDOG_SECONDS > limit:
                print(
                    f'error: rank 0 has not answered for {limit:g} s: its '
                    'machine hangs, or the network; go on with --resume',
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(2)

    def _fail(self, error: Exception) -> None:
        with self._guard:
            self.error = error
            if self._busy_since is not None:
                self._interrupt()
        if not self._ended.wait(_GRACE_SECONDS):
            print(f'error: {error}', file=sys.stderr, flush=True)
            os._exit(2)

    def _look(self) -> None:
        store, now = self._job.store, time.monotonic()
        store.add(f'beat/{self._job.rank}', 1)
        for rank, (count, since) in self._beats.items():
            beats = store.add(f'beat/{rank}', 0)
            if beats != count:
                self._beats[rank] = (beats, now)
            elif now - since > self._silence(beats):
                raise JobError(
                    f'rank {rank} has given no sign of life for '
                    f'{now - since:.0f} s: it died, see its log; go on with '
                    '--resume'
                )
        if self._job.rank and store.check([STOP]):
            raise JobStopped('rank 0 has ended the search')
        if not self._job.rank and store.check([_FAILURE]):
            raise _read_failure(store)
        self._require_progress(now)

    def _silence(self, beats: int) -> float:
        """Returns after how many seconds of silence a process is dead."""
        return self._limits.patience if beats else START_SECONDS

    def _require_progress(self, now: float) -> None:
        since, limit = self._busy_since, self._limits.candidate_timeout
        if since is None or now - since <= limit * self._limits.chunk:
            return
        error = JobError(
            f'rank {self._job.rank} has evaluated a candidate for more than '
            f'{limit:g} s (`candidate_timeout`); go on with --resume'
        )
        report_failure(self._job, error)
        raise error


def report_failure(job: Job, error: Exception) -> None:
    """Tells rank 0 why this process ends."""
    failure = {
        'message': str(error),
        'unknown_metric': isinstance(error, UnknownMetricError),
    }
    job.store.set(_FAILURE, json.dumps(failure))


def _read_failure(store: Store) -> Exception:
    failure = json.loads(store.get(_FAILURE))
    kind = UnknownMetricError if failure['unknown_metric'] else JobError
    return kind(failure['message'])
