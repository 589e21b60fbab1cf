"""Evaluation of candidates by actors of Ray, on one machine or a cluster.

A worker is one process on one GPU, or on some CPU cores where there is no
GPU. It builds what it needs itself, takes the next path as soon as it is
free, and is replaced when it dies, hangs or is sick; nodes that join the
cluster later are used. What comes out does not depend on the number of
workers.
"""

import logging
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from types import TracebackType

from detnas_mm.executors.base import Evaluation
from detnas_mm.executors.journal import Journal
from detnas_mm.executors.ray_cluster import (
    ClusterLostError,
    RaySettings,
    require_ray,
    start_ray,
)
from detnas_mm.executors.ray_scorer import Build
from detnas_mm.executors.ray_worker import Worker
from detnas_mm.executors.ray_workers import Outcome, RayWorkers
from detnas_mm.executors.second_tries import SecondTries
from detnas_mm.structures import ArchPath, Rungs

# Workers that die or hang over one path before that is an error.
_MAX_LOSSES = 3


class RayEvaluator:
    """Evaluates candidates on all GPUs of a Ray cluster.

    To be used in a ``with`` statement, at whose end the workers end.

    Args:
        build: Builds the evaluator of a worker, there. It is sent by pickle.
        settings: How many workers there are, and how large.
        journal: Keeps what has finished until it is recorded.
        logger: Is told about workers that come and go.
    """

    def __init__(
        self,
        build: Build,
        settings: RaySettings | None = None,
        *,
        journal: Journal | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self.settings = settings or RaySettings()
        self.journal = journal or Journal()
        self.logger = logger or logging.getLogger(__name__)
        self._ray = require_ray()
        self._is_mine = not self._ray.is_initialized()
        if self._is_mine:
            start_ray(self._ray, self.settings.address)
        self._workers = RayWorkers(
            self._ray, build, self.settings, self.logger
        )
        self._waiting: deque[ArchPath] = deque()
        # Those of the paths that wait.
        self._bars: Rungs = ()
        self._losses: Counter[ArchPath] = Counter()
        self._tries = SecondTries()
        # Machines on which a worker was sick.
        self._sick_hosts: set[str] = set()

    def evaluate(
        self,
        paths: Sequence[ArchPath],
        ahead: Sequence[ArchPath] = (),
        bars: Rungs = (),
    ) -> Iterator[Evaluation]:
        """Yields the evaluation of each path, in the order of the paths.

        Args:
            paths: The paths.
            ahead: What will be asked for next, for workers that would
                otherwise have nothing to do.
            bars: Numbers of images, each with the score below which a path
                is dropped.

        Raises:
            UnknownMetricError: If the evaluator does not give the metric.
            WrongSearchError: If a worker has another checkpoint, say.
            RuntimeError: If no worker can be built.
        """
        self._bars = bars
        self._waiting.extend(self.journal.ask([*paths, *ahead]))
        yield from self.journal.wait_for(paths, self._step)

    def __enter__(self) -> 'RayEvaluator':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Without the head, Ray would wait for it; workers end with this
        # process.
        if not isinstance(error, ClusterLostError):
            self.close()

    def close(self) -> None:
        """Ends the workers."""
        self._workers.close()
        if self._is_mine:
            self._ray.shutdown()

    def _step(self) -> None:
        """Hands out what there is, and waits until something happens."""
        self._workers.hire(self.journal.num_asked)
        for worker in self._workers.idle():
            paths = self._next_paths(worker)
            if paths:
                self._workers.evaluate(worker, paths, self._bars)
        for outcome in self._workers.wait():
            if outcome.lost:
                self._put_back(outcome)
            else:
                self._take(outcome)
        self._replace_sick()
        self._workers.say_if_nobody_works(self.journal.num_asked)

    def _next_paths(self, worker: Worker) -> list[ArchPath]:
        """Takes what a worker does next from what waits.

        A second try is for itself, and so is what a worker was lost over: the
        others that it had are not to fail with it.
        """
        paths: list[ArchPath] = []
        for path in list(self._waiting):
            failed_on = self._tries.failed_on(path)
            if failed_on is None and not self._losses[path]:
                paths.append(path)
            elif failed_on is None or self._workers.may_try_again(
                worker, failed_on
            ):
                paths = paths or [path]
                break
            if len(paths) == self.settings.chunk:
                break
        for path in paths:
            self._waiting.remove(path)
        return paths

    def _take(self, outcome: Outcome) -> None:
        """Keeps what has come out; what has failed waits once more."""
        evaluated = zip(outcome.paths, outcome.evaluations, strict=True)
        for path, evaluation in evaluated:
            final = self._tries.take(outcome.worker, path, evaluation)
            if final is None:
                self._waiting.appendleft(path)
            else:
                self.journal.add(path, final)

    def _put_back(self, outcome: Outcome) -> None:
        """Has another worker do what a lost one did."""
        for path in reversed(outcome.paths):
            self._losses[path] += 1
            if self._losses[path] < _MAX_LOSSES:
                self._waiting.appendleft(path)
            else:
                error = (
                    f'{_MAX_LOSSES} workers in a row: the last {outcome.lost}'
                )
                self.journal.add(path, Evaluation(None, error=error))

    def _replace_sick(self) -> None:
        """Replaces workers that fail where others do not.

        A new process may do better. If it does not, its machine is named,
        and it stays without work, so that no other takes its place.
        """
        for number, failed in self._tries.sick().items():
            worker = self._workers.find(number)
            if worker is None or worker.retired:
                continue
            self._waiting.extendleft(reversed(worker.paths))
            has_failed = (
                f'A {worker} has failed {failed} candidates in a row that '
                'others could evaluate'
            )
            if worker.host not in self._sick_hosts:
                self._sick_hosts.add(worker.host)
                self.logger.warning(
                    f'{has_failed}; another one takes its place'
                )
                self._workers.dismiss(worker)
            else:
                self.logger.warning(
                    f'{has_failed}, not the first one there: it gets no more '
                    'of them; look at the GPU and the disk of that machine'
                )
                self._workers.retire(worker)
