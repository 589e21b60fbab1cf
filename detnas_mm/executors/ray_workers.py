"""The workers of Ray that evaluate the candidates of a search.

A worker starts, is built, and evaluates; it is replaced when it dies or
hangs. What it evaluates is not decided here.
"""

import itertools
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from detnas_mm.executors.base import Evaluation, UnknownMetricError
from detnas_mm.executors.errors import WrongSearchError
from detnas_mm.executors.ray_cluster import (
    RaySettings,
    ask_head,
    cluster_room,
    free_room,
)
from detnas_mm.executors.ray_scorer import Build, Scorer
from detnas_mm.executors.ray_worker import Worker, why_nobody_works
from detnas_mm.structures import ArchPath, Rungs

POLL_SECONDS = 1.0
_MESSAGE_SECONDS = 60.0
# After a worker could not be built, the next one waits.
_REBUILD_SECONDS = 30.0
# Workers in a row that cannot be built before that is an error.
_MAX_FAILED_BUILDS = 3


@dataclass(frozen=True)
class Outcome:
    """What has become of the paths of a worker.

    Attributes:
        worker: Number of the worker.
        paths: What it was to evaluate.
        evaluations: What came out.
        lost: Why nothing did, if it died or hung.
    """

    worker: int
    paths: Sequence[ArchPath]
    evaluations: Sequence[Evaluation] = ()
    lost: str = ''


class RayWorkers:
    """The workers of a search.

    Args:
        ray: The module of Ray, connected.
        build: Builds the evaluator of a worker, there. It is sent by pickle.
        settings: How many workers there are, and how large.
        logger: Is told about workers that come and go.
    """

    def __init__(
        self,
        ray: Any,
        build: Build,
        settings: RaySettings,
        logger: logging.Logger,
    ) -> None:
        self.settings = settings
        self.logger = logger
        self._ray = ray
        self._build = ray.put(build)
        self._workers: list[Worker] = []
        self._numbers = itertools.count()
        self._failed_builds = 0
        self._build_error = ''
        self._next_hiring = 0.0
        self._next_message = time.monotonic() + _MESSAGE_SECONDS

    def hire(self, wanted: int) -> None:
        """Starts workers, up to what the cluster has room for.

        Args:
            wanted: How many there is work for.
        """
        if time.monotonic() < self._next_hiring:
            return
        self._next_hiring = time.monotonic() + POLL_SECONDS
        room, resources = ask_head(
            partial(cluster_room, self._ray, self.settings)
        )
        active = sum(not one.retired for one in self._workers)
        for _ in range(min(room - len(self._workers), wanted - active)):
            actor = self._ray.remote(Scorer).options(**resources).remote()
            worker = Worker(next(self._numbers), actor)
            worker.start(actor.start.remote())
            self._workers.append(worker)

    def idle(self) -> list[Worker]:
        """Returns those that could evaluate something."""
        return [
            one
            for one in self._workers
            if one.built and one.task is None and not one.retired
        ]

    def may_try_again(self, worker: Worker, failed_on: int) -> bool:
        """Whether a path that has failed may go to a worker.

        That is another one, where there is one. One that may be sick fails
        faster than others evaluate: it leaves the path to those that are
        well, or of which nothing is known yet.

        Args:
            worker: The worker.
            failed_on: Number of the one that has failed the path.
        """
        others = [
            one
            for one in self._workers
            if one.started and not one.retired and one.number != failed_on
        ]
        if worker not in others:
            return not others
        if any(one.is_well for one in others):
            return worker.is_well
        return worker.is_new or not any(one.is_new for one in others)

    def evaluate(
        self, worker: Worker, paths: Sequence[ArchPath], bars: Rungs
    ) -> None:
        """Gives paths to an idle worker."""
        worker.start(worker.actor.evaluate.remote(paths, bars), paths)

    def wait(self) -> list[Outcome]:
        """Waits until something happens, or a second.

        Raises:
            UnknownMetricError: If the evaluator does not give the metric.
            WrongSearchError: If a worker has another checkpoint, say.
            RuntimeError: If no worker can be built.
        """
        tasks = {one.task: one for one in self._workers if one.task}
        finished = []
        if tasks:
            finished, _ = self._ray.wait(list(tasks), timeout=POLL_SECONDS)
        else:
            time.sleep(POLL_SECONDS)
        outcomes = [self._finish(tasks[task]) for task in finished]
        return [*filter(None, outcomes), *self._replace_hanging()]

    def find(self, number: int) -> Worker | None:
        """Returns the worker with a number, if it is still there."""
        return next((o for o in self._workers if o.number == number), None)

    def dismiss(self, worker: Worker) -> None:
        """Ends a worker; another one will take its place."""
        self._workers.remove(worker)
        self._ray.kill(worker.actor)

    def retire(self, worker: Worker) -> None:
        """Keeps a worker without work, so that none takes its place."""
        worker.retired = True
        worker.start(None)

    def close(self) -> None:
        """Ends all workers."""
        for worker in list(self._workers):
            self.dismiss(worker)

    def _finish(self, worker: Worker) -> Outcome | None:
        """Takes what a worker has done, or that it is no more."""
        try:
            result = self._ray.get(worker.task)
        except self._ray.exceptions.RayError as error:
            return self._lose(worker, f'died ({_cause(error)})')
        if 'error' in result:
            return self._lose(
                worker, f'could not be built ({result["error"]})'
            )
        if 'wrong_search' in result:
            raise WrongSearchError(result['wrong_search'])
        if 'unknown_metric' in result:
            raise UnknownMetricError(result['unknown_metric'])
        if not worker.started:
            worker.started = True
            worker.host = result['host']
            worker.start(worker.actor.build.remote(self._build))
            return None
        worker.built = True
        self._failed_builds = 0
        self._build_error = ''
        evaluations = [
            Evaluation(**one) for one in result.get('evaluations', ())
        ]
        worker.note(evaluations)
        outcome = Outcome(worker.number, worker.paths, evaluations)
        worker.start(None)
        return outcome

    def _replace_hanging(self) -> list[Outcome]:
        limit = self.settings.candidate_timeout
        hanging = [
            worker
            for worker in self._workers
            # A worker for which there is no room yet does not hang.
            if worker.started
            and worker.task is not None
            and time.monotonic() - worker.since
            > limit * max(1, len(worker.paths))
        ]
        reason = f'took longer than {limit:g} s'
        return [self._lose(worker, reason) for worker in hanging]

    def _lose(self, worker: Worker, reason: str) -> Outcome:
        self.dismiss(worker)
        self.logger.warning(
            f'A {worker} {reason}; another one takes its place'
        )
        if not worker.built:
            self._failed_builds += 1
            self._build_error = reason
            self._next_hiring = time.monotonic() + _REBUILD_SECONDS
            if self._failed_builds >= _MAX_FAILED_BUILDS and not any(
                one.built for one in self._workers
            ):
                raise RuntimeError(
                    f'{self._failed_builds} workers in a row {reason}; mend '
                    'the cause and go on with --resume'
                )
        return Outcome(worker.number, worker.paths, lost=reason)

    def say_if_nobody_works(self, wanted: int) -> None:
        """Warns each minute while no worker can evaluate, and says why.

        Args:
            wanted: How many candidates wait.
        """
        now = time.monotonic()
        if any(one.built and not one.retired for one in self._workers):
            self._next_message = now + _MESSAGE_SECONDS
        elif now >= self._next_message:
            self._next_message = now + _MESSAGE_SECONDS
            reason = why_nobody_works(
                self._workers,
                self._build_error,
                ask_head(partial(free_room, self._ray, self.settings)) > 0,
            )
            self.logger.warning(
                f'No worker is there for {wanted} candidates: {reason}'
            )


def _cause(error: Exception) -> str:
    """Returns the line of Ray's long message that names the cause."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    # The end of the traceback in the worker, if its code raised an error.
    return lines[-1] if 'Traceback' in str(error) else lines[0]
