"""Evaluation by actors of Ray, on one machine or a cluster.

A worker is one actor: a process on one GPU, or on CPU cores where there is no
GPU. A new actor replaces a worker that is lost. Ray's own retries
(``max_task_retries``) would hide when a path starts again, so that neither its
time nor the number of workers that it kills could be limited.
"""

import logging
import signal
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from detnas_mm.executors.base import (
    PathEvaluator,
    Result,
    WrongSearchError,
    describe,
)
from detnas_mm.executors.ray_cluster import (
    HeadLostError,
    count_workers,
    require_ray,
    start_ray,
    wait_for_head,
)
from detnas_mm.structures import ArchPath
from detnas_mm.utils.errors import InputError

# Lost workers after which a path fails, and failed builds in a row after which
# the search ends.
_MAX_LOSSES = 3
_POLL_SECONDS = 1.0
_WARNING_SECONDS = 60.0
# Pause after a worker could not be built.
_REBUILD_SECONDS = 30.0
# Ray itself ends this process after a minute without the head, and does not
# say how to continue.
_HEAD_SECONDS = 30.0


class _Process:
    """The methods that run in the process of a worker."""

    def start(self) -> str:
        """Returns the host, as soon as the process runs."""
        # Pools end their processes by SIGTERM (mmdet's evaluation on VOC has
        # one). A process that inherits the handler of Ray may not end.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return socket.gethostname()

    def build(self, build: Callable[[], PathEvaluator]) -> None:
        self._evaluator = build()

    def evaluate(self, path: ArchPath) -> Result:
        return self._evaluator(path)


@dataclass(eq=False)
class _Worker:
    """A worker: it starts, is built, then evaluates or is idle."""

    actor: Any
    # The call that runs; None if the worker is idle.
    task: Any
    path: ArchPath | None = None
    # Known when the process has started.
    host: str = ''
    is_built: bool = False
    since: float = field(default_factory=time.monotonic)

    def begin(self, task: object, path: ArchPath | None = None) -> None:
        self.task, self.path, self.since = task, path, time.monotonic()


@dataclass(eq=False)
class Ray:
    """Evaluates paths on a Ray cluster.

    Args:
        build: Builds the evaluator of a worker in the process of the worker.
            It is sent there by pickle.
        address: Address of the cluster, or ``'auto'`` for the one to which
            this machine belongs. Defaults to the one that ``RAY_ADDRESS``
            names, else to a new one on this machine.
        workers: Number of workers. Those for which the cluster has no room
            wait for nodes that join. Defaults to as many as there is room for.
        gpus_per_worker: GPUs of a worker. Defaults to one where the cluster
            has any.
        cpus_per_worker: CPU cores of a worker, including its data loaders.
        candidate_timeout: Seconds that an evaluation, or the building of a
            worker, may take. Then the worker is replaced.
        logger: Receives a warning for each worker that is lost.

    Raises:
        InputError: If a setting is out of range, or Ray is not installed.
    """

    build: Callable[[], PathEvaluator]
    _: KW_ONLY
    address: str | None = None
    workers: int | None = None
    gpus_per_worker: float | None = None
    cpus_per_worker: float = 1
    candidate_timeout: float = 14400.0
    logger: logging.Logger | None = None

    def __post_init__(self) -> None:
        for name in ('workers', 'cpus_per_worker', 'candidate_timeout'):
            value = getattr(self, name)
            is_number = isinstance(value, (int, float))
            if value is not None and not (is_number and value > 0):
                raise InputError(
                    f'`{name}` must be a number of more than 0, got {value!r}'
                )
        if self.gpus_per_worker is not None and self.gpus_per_worker < 0:
            raise InputError(
                '`gpus_per_worker` must be at least 0, got '
                f'{self.gpus_per_worker}'
            )
        self._ray = require_ray()
        self._logger = self.logger or logging.getLogger(__name__)
        self._workers: list[_Worker] = []
        self._waiting: deque[ArchPath] = deque()
        # How many workers were lost over each path.
        self._losses: Counter[ArchPath] = Counter()
        self._failed_builds = 0
        self._next_start = 0.0

    def __enter__(self) -> 'Ray':
        """Connects to the cluster, or starts one."""
        self._is_mine = not self._ray.is_initialized()
        if self._is_mine:
            start_ray(self._ray, self.address)
        self._head = self._ray.get_runtime_context().gcs_address
        self._build = self._ray.put(self.build)
        self._last_seen = time.monotonic()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        """Ends the workers, and Ray if it was started here."""
        if isinstance(error, HeadLostError):
            # Ray would wait for its head. Workers end with this process.
            return
        for worker in self._workers:
            self._ray.kill(worker.actor)
        self._workers.clear()
        if self._is_mine:
            self._ray.shutdown()

    def run(
        self, paths: Sequence[ArchPath], ahead: Sequence[ArchPath] = ()
    ) -> Iterator[tuple[ArchPath, Result]]:
        """Yields each path with its result as soon as it has finished.

        Raises:
            InputError: If the evaluator does not give the metric, no worker
                can be built, or the head of the cluster is lost.
            WrongSearchError: If a worker has another search.
        """
        running = {worker.path for worker in self._workers}
        self._waiting = deque(
            path for path in (*paths, *ahead) if path not in running
        )
        missing = set(paths)
        while missing:
            wait_for_head(self._head, _HEAD_SECONDS)
            self._start_workers()
            for worker in self._workers:
                if worker.task is None and self._waiting:
                    path = self._waiting.popleft()
                    worker.begin(worker.actor.evaluate.remote(path), path)
            for path, result in self._collect():
                missing.discard(path)
                yield path, result
            self._warn_without_workers(len(missing))

    def _start_workers(self) -> None:
        evaluating = sum(w.path is not None for w in self._workers)
        needed = len(self._waiting) + evaluating
        if len(self._workers) >= needed or time.monotonic() < self._next_start:
            return
        resources = self._ray.cluster_resources()
        cpus, gpus = self.cpus_per_worker, self.gpus_per_worker
        if gpus is None:
            gpus = 1 if resources.get('GPU') else 0
        # Actors without room stay pending until nodes join.
        count = self.workers or max(count_workers(resources, gpus, cpus), 1)
        actor_class = self._ray.remote(num_gpus=gpus, num_cpus=cpus)(_Process)
        for _ in range(min(count, needed) - len(self._workers)):
            actor = actor_class.remote()
            self._workers.append(_Worker(actor, actor.start.remote()))

    def _collect(self) -> Iterator[tuple[ArchPath, Result]]:
        """Waits for the end of a call, and replaces workers that hang."""
        tasks = {w.task: w for w in self._workers if w.task is not None}
        if not tasks:
            time.sleep(_POLL_SECONDS)
            return
        finished, _ = self._ray.wait(list(tasks), timeout=_POLL_SECONDS)
        for task in finished:
            yield from self._finish(tasks[task])
        for worker in list(self._workers):
            # A worker without a host may wait for room in the cluster.
            if not worker.host or worker.task is None:
                continue
            seconds = time.monotonic() - worker.since
            is_late = seconds > self.candidate_timeout
            # The call may have ended while nothing asked for its result.
            if is_late and not self._ray.wait([worker.task], timeout=0)[0]:
                yield from self._replace(worker, f'no end for {seconds:.0f} s')

    def _finish(self, worker: _Worker) -> Iterator[tuple[ArchPath, Result]]:
        """Takes the value of a call; the next one may begin."""
        try:
            value = self._ray.get(worker.task)
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause
            is_input = isinstance(cause, InputError) and worker.is_built
            if is_input or isinstance(cause, WrongSearchError):
                raise cause from error
            yield from self._replace(worker, describe(cause))
        except self._ray.exceptions.RayError as error:
            yield from self._replace(worker, describe(error))
        else:
            path = worker.path
            if not worker.host:
                worker.host = value
                worker.begin(worker.actor.build.remote(self._build))
            else:
                worker.is_built = True
                self._failed_builds = 0
                worker.begin(None)
            if path is not None:
                yield path, value

    def _replace(
        self, worker: _Worker, reason: str
    ) -> Iterator[tuple[ArchPath, Result]]:
        """Ends a lost worker; its path waits again, or fails."""
        self._workers.remove(worker)
        self._ray.kill(worker.actor)
        host, path = worker.host or 'unknown', worker.path
        self._logger.warning(
            f'A worker on host {host} is lost and replaced: {reason}'
        )
        if not worker.is_built:
            self._failed_builds += 1
            self._next_start = time.monotonic() + _REBUILD_SECONDS
            if self._failed_builds >= _MAX_LOSSES and not any(
                known.host for known in self._workers
            ):
                raise InputError(
                    f'{self._failed_builds} workers in a row could not be '
                    f'built, the last one on host {host}: {reason}; correct '
                    'the cause and continue with --resume'
                )
        if path is None:
            return
        self._losses[path] += 1
        if self._losses[path] < _MAX_LOSSES:
            self._waiting.appendleft(path)
        else:
            error = f'{_MAX_LOSSES} workers were lost over it, last: {reason}'
            yield path, Result(None, error=error)

    def _warn_without_workers(self, missing: int) -> None:
        now = time.monotonic()
        if any(worker.is_built for worker in self._workers):
            self._last_seen = now
        elif now - self._last_seen > _WARNING_SECONDS:
            self._last_seen = now
            self._logger.warning(
                f'No worker is ready for {missing} candidates: workers start, '
                'are built, or wait for room (see `ray status`)'
            )
