"""Evaluation of candidates by actors of Ray, on one machine or a cluster.

A worker is one process on one GPU, or on some CPU cores where there is no
GPU. It builds what it needs itself, takes the next path as soon as it is
free, and is replaced when it dies or hangs; nodes that join the cluster later
are used. What comes out does not depend on the number of workers.
"""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any

from detnas_mm.structures import Path, Rungs

from .errors import WrongSearchError, describe
from .journal import Journal
from .local import Evaluation, LocalEvaluator, UnknownMetricError
from .ray_cluster import (
    RaySettings,
    cluster_room,
    free_room,
    require_ray,
    start_ray,
)

Build = Callable[[], LocalEvaluator]

_POLL_SECONDS = 1.0
_MESSAGE_SECONDS = 60.0
# After a worker could not be built, the next one waits.
_REBUILD_SECONDS = 30.0
# Workers in a row that cannot be built, and workers that die or hang over one
# path, before that is an error.
_MAX_LOSSES = 3


class Scorer:
    """What runs in the process of a worker; errors are values here."""

    def __init__(self) -> None:
        self._evaluator: LocalEvaluator | None = None

    def start(self) -> dict:
        """Says that the process is there."""
        return {}

    def build(self, build: Build) -> dict:
        """Builds the evaluator of this process."""
        try:
            self._evaluator = build()
        except WrongSearchError as error:
            return {'wrong_search': str(error)}
        except Exception as error:
            return {'error': describe(error)}
        return {}

    def evaluate(self, paths: Sequence[Path], bars: Rungs) -> dict:
        """Evaluates paths."""
        try:
            evaluations = list(self._evaluator.evaluate(paths, bars))
        except UnknownMetricError as error:
            return {'unknown_metric': str(error)}
        return {'evaluations': [asdict(one) for one in evaluations]}


@dataclass
class _Worker:
    """A worker and what it does: it starts, is built, evaluates or waits."""

    actor: Any
    task: Any = None
    paths: Sequence[Path] = ()
    started: bool = False
    built: bool = False
    since: float = field(default_factory=time.monotonic)

    def start(self, task: object, paths: Sequence[Path] = ()) -> None:
        self.task = task
        self.paths = paths
        self.since = time.monotonic()


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
        self._build = self._ray.put(build)
        self._workers: list[_Worker] = []
        self._waiting: deque[Path] = deque()
        # Those of the paths that wait.
        self._bars: Rungs = ()
        self._losses: Counter[Path] = Counter()
        self._failed_builds = 0
        self._build_error = ''
        self._next_hiring = 0.0
        self._next_message = time.monotonic() + _MESSAGE_SECONDS

    def evaluate(
        self,
        paths: Sequence[Path],
        ahead: Sequence[Path] = (),
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
        self.close()

    def close(self) -> None:
        """Ends the workers."""
        for worker in self._workers:
            self._ray.kill(worker.actor)
        self._workers = []
        if self._is_mine:
            self._ray.shutdown()

    def _step(self) -> None:
        """Hands out what there is, and waits until something happens."""
        self._hire()
        self._hand_out()
        tasks = {one.task: one for one in self._workers if one.task}
        finished = []
        if tasks:
            finished, _ = self._ray.wait(list(tasks), timeout=_POLL_SECONDS)
        else:
            time.sleep(_POLL_SECONDS)
        for task in finished:
            self._finish(tasks[task])
        self._replace_hanging()
        self._say_if_nobody_works()

    def _hire(self) -> None:
        """Starts workers, up to what the cluster has room for."""
        if time.monotonic() < self._next_hiring:
            return
        self._next_hiring = time.monotonic() + _POLL_SECONDS
        room, resources = cluster_room(self._ray, self.settings)
        for _ in range(min(room, self.journal.num_asked) - len(self._workers)):
            actor = self._ray.remote(Scorer).options(**resources).remote()
            worker = _Worker(actor)
            worker.start(actor.start.remote())
            self._workers.append(worker)

    def _hand_out(self) -> None:
        for worker in self._workers:
            if worker.built and worker.task is None and self._waiting:
                count = min(self.settings.chunk, len(self._waiting))
                paths = [self._waiting.popleft() for _ in range(count)]
                task = worker.actor.evaluate.remote(paths, self._bars)
                worker.start(task, paths)

    def _finish(self, worker: _Worker) -> None:
        """Takes what a worker has done, or that it is no more."""
        try:
            result = self._ray.get(worker.task)
        except self._ray.exceptions.RayError as error:
            self._lose(worker, f'died ({_cause(error)})')
            return
        if 'error' in result:
            self._lose(worker, f'could not be built ({result["error"]})')
            return
        if 'wrong_search' in result:
            raise WrongSearchError(result['wrong_search'])
        if 'unknown_metric' in result:
            raise UnknownMetricError(result['unknown_metric'])
        evaluations = result.get('evaluations', ())
        for path, one in zip(worker.paths, evaluations, strict=True):
            self.journal.add(path, Evaluation(**one))
        if not worker.started:
            worker.started = True
            worker.start(worker.actor.build.remote(self._build))
            return
        worker.built = True
        worker.start(None)
        self._failed_builds = 0
        self._build_error = ''

    def _replace_hanging(self) -> None:
        limit = self.settings.candidate_timeout
        for worker in list(self._workers):
            patience = limit * max(1, len(worker.paths))
            # A worker for which there is no room yet does not hang.
            works = worker.started and worker.task is not None
            if works and time.monotonic() - worker.since > patience:
                self._lose(worker, f'took longer than {limit:g} s')

    def _lose(self, worker: _Worker, reason: str) -> None:
        """Has another worker do what this one did."""
        self._workers.remove(worker)
        self._ray.kill(worker.actor)
        self.logger.warning(f'A worker {reason}; another one takes its place')
        if not worker.built:
            self._failed_builds += 1
            self._build_error = reason
            self._next_hiring = time.monotonic() + _REBUILD_SECONDS
            if self._failed_builds >= _MAX_LOSSES and not any(
                one.built for one in self._workers
            ):
                raise RuntimeError(
                    f'{self._failed_builds} workers in a row {reason}; mend '
                    'the cause and go on with --resume'
                )
        for path in reversed(worker.paths):
            self._losses[path] += 1
            if self._losses[path] < _MAX_LOSSES:
                self._waiting.appendleft(path)
            else:
                error = f'{_MAX_LOSSES} workers in a row: the last {reason}'
                self.journal.add(path, Evaluation(None, error=error))

    def _say_if_nobody_works(self) -> None:
        now = time.monotonic()
        if any(worker.built for worker in self._workers):
            self._next_message = now + _MESSAGE_SECONDS
        elif now >= self._next_message:
            self._next_message = now + _MESSAGE_SECONDS
            self.logger.warning(
                f'No worker is there for {self.journal.num_asked} candidates: '
                f'{self._reason(now)}'
            )

    def _reason(self, now: float) -> str:
        """Returns why no worker is there."""
        if self._build_error:
            return f'the last one {self._build_error}; another one is tried'
        built = [one for one in self._workers if one.started]
        if built:
            return f'{len(built)} are being built, for {_age(built, now)} s'
        if self._workers and free_room(self._ray, self.settings):
            return (
                f'{len(self._workers)} have been starting for '
                f'{_age(self._workers, now)} s, though the Ray cluster has '
                'room: no single machine has it, or those that have are too '
                'busy to start them (logs there: /tmp/ray/session_latest)'
            )
        return (
            'waiting for room in the Ray cluster (ray status; a node joins '
            'by ray start --address)'
        )


def _age(workers: Sequence[_Worker], now: float) -> int:
    """Returns for how many seconds the oldest has done what it does."""
    return round(max(now - worker.since for worker in workers))


def _cause(error: Exception) -> str:
    """Returns the line of Ray's long message that names the cause."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    # The end of the traceback in the worker, if its code raised an error.
    return lines[-1] if 'Traceback' in str(error) else lines[0]
