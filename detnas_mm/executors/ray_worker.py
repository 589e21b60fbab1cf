"""A worker of Ray as the search sees it, and why there is none."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from detnas_mm.executors.base import Evaluation
from detnas_mm.structures import ArchPath

# So many failures in a row of a worker that gave scores are not by chance.
_MAX_FAILURES = 3


@dataclass
class Worker:
    """A worker and what it does: it starts, is built, evaluates or waits.

    Attributes:
        number: No other worker of the search has it.
        actor: Its process.
        host: The machine that it runs on.
        task: What it does.
        paths: What it evaluates.
        started: Whether the process is there.
        built: Whether it can evaluate.
        scored: Whether it has ever given a score.
        failures: How many evaluations have failed since then.
        retired: Whether it only keeps others from its place.
        since: When it began what it does.
    """

    number: int
    actor: Any
    host: str = ''
    task: Any = None
    paths: Sequence[ArchPath] = ()
    started: bool = False
    built: bool = False
    scored: bool = False
    failures: int = 0
    retired: bool = False
    since: float = field(default_factory=time.monotonic)

    def start(self, task: object, paths: Sequence[ArchPath] = ()) -> None:
        """Begins something, or nothing."""
        self.task = task
        self.paths = paths
        self.since = time.monotonic()

    def note(self, evaluations: Sequence[Evaluation]) -> None:
        """Notes whether its evaluations gave scores."""
        for one in evaluations:
            if one.error is None:
                self.scored, self.failures = True, 0
            else:
                self.failures += 1

    @property
    def is_well(self) -> bool:
        """Whether it gives scores."""
        return self.scored and self.failures < _MAX_FAILURES

    @property
    def is_new(self) -> bool:
        """Whether nothing is known of it."""
        return not self.scored and not self.failures

    def __str__(self) -> str:
        return f'worker on {self.host}' if self.host else 'worker'


def why_nobody_works(
    workers: Sequence[Worker], build_error: str, has_room: bool
) -> str:
    """Returns why no worker can evaluate.

    Args:
        workers: Those that there are.
        build_error: Why the last one could not be built, if that is so.
        has_room: Whether the cluster could start another one.
    """
    if build_error:
        return f'the last one {build_error}; another one is tried'
    if workers and all(one.retired for one in workers):
        hosts = ', '.join(sorted({one.host for one in workers}))
        return f'those on {hosts} fail what others could evaluate'
    building = [one for one in workers if one.started and not one.retired]
    if building:
        return f'{len(building)} are being built, for {_age(building)} s'
    starting = [one for one in workers if not one.started]
    if starting and has_room:
        return (
            f'{len(starting)} have been starting for {_age(starting)} s, '
            'though the Ray cluster has room: no single machine has it, or '
            'those that have are too busy to start them (logs there: '
            '/tmp/ray/session_latest)'
        )
    return (
        'waiting for room in the Ray cluster, or for a busy machine to start '
        'them (ray status; a node joins by ray start --address)'
    )


def _age(workers: Sequence[Worker]) -> int:
    """Returns for how many seconds the oldest has done what it does."""
    return round(time.monotonic() - min(worker.since for worker in workers))
