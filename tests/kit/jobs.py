"""Jobs whose processes are threads."""

import threading
from contextlib import contextmanager

from torch.distributed import HashStore

from detnas_mm.executors.distributed import DistributedEvaluator
from detnas_mm.executors.job import Job
from detnas_mm.executors.peer import serve


def cannot_interrupt():
    """A thread cannot be interrupted: it ends when its path is evaluated."""


@contextmanager
def job_of_threads(world_size, local, *, limits=None, journal=None):
    """The evaluator of rank 0; the other ranks serve until it is closed.

    Args:
        world_size: Number of ranks.
        local: Returns what evaluates candidates, called for each rank.
        limits: What the processes may take.
        journal: The journal of rank 0.
    """
    store = HashStore()
    others = [
        threading.Thread(
            target=serve,
            args=(Job(store, rank, world_size), local()),
            kwargs=dict(limits=limits, interrupt=cannot_interrupt),
            daemon=True,
        )
        for rank in range(1, world_size)
    ]
    for other in others:
        other.start()
    try:
        with DistributedEvaluator(
            Job(store, 0, world_size),
            local(),
            limits=limits,
            journal=journal,
            interrupt=cannot_interrupt,
        ) as evaluator:
            yield evaluator
    finally:
        for other in others:
            other.join(timeout=10)
        assert not any(other.is_alive() for other in others)
