"""Evaluation of candidates in this process, some at a time."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Protocol

from detnas_mm.executors.errors import describe
from detnas_mm.executors.stopwatch import Stopwatch
from detnas_mm.structures import ArchPath, Rungs, Status, as_rungs
from detnas_mm.utils.errors import InputError


@dataclass(frozen=True)
class Raced:
    """How a path did in a race.

    Attributes:
        rungs: Its scores on parts of the images.
        metrics: The metrics of the evaluator; ``None`` if it was dropped.
    """

    rungs: Rungs
    metrics: Mapping[str, float] | None


# The metrics of the evaluator, or the exception that took their place.
Outcome = Mapping[str, float] | Raced | Exception


class Score(Protocol):
    """Scores paths together."""

    def __call__(
        self, paths: Sequence[ArchPath], bars: Rungs = ()
    ) -> Sequence[Outcome]:
        """Returns the outcome of each path.

        Args:
            paths: The paths.
            bars: Numbers of images, each with the score below which a path
                is dropped.
        """


class UnknownMetricError(ValueError):
    """The evaluator does not give the metric that is searched for."""


@dataclass(frozen=True)
class Evaluation:
    """What came out of the evaluation of a path.

    Attributes:
        fitness: The metric that is searched for; ``None`` if it failed or
            was dropped.
        metrics: All finite numbers that the evaluator gave.
        seconds: How long it took.
        seconds_by_part: How long each part of it took, where it was measured:
            see :data:`detnas_mm.executors.stopwatch.PARTS`.
        error: Why it failed, in one line.
        rungs: Scores on parts of the images, if candidates race.
    """

    fitness: float | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    seconds_by_part: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    rungs: Rungs = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, 'rungs', as_rungs(self.rungs))

    @property
    def status(self) -> Status:
        """Whether it gave a fitness."""
        if self.error is not None:
            return Status.FAILED
        return Status.DROPPED if self.fitness is None else Status.COMPLETE

    def after(self, earlier: 'Evaluation') -> 'Evaluation':
        """Returns the same with the time of an earlier try added."""
        by_part = Counter(earlier.seconds_by_part)
        by_part.update(self.seconds_by_part)
        return replace(
            self,
            seconds=earlier.seconds + self.seconds,
            seconds_by_part=dict(by_part),
        )


class CandidateEvaluator(Protocol):
    """Paths in, evaluations out, in the order of the paths."""

    def evaluate(
        self,
        paths: Sequence[ArchPath],
        ahead: Sequence[ArchPath] = (),
        bars: Rungs = (),
    ) -> Iterator[Evaluation]:
        """Yields the evaluation of each path as soon as its turn comes.

        Args:
            paths: The paths.
            ahead: What will be asked for next, for workers that would
                otherwise have nothing to do. Not together with ``bars``.
            bars: Numbers of images, each with the score below which a path
                is dropped.
        """


class LocalEvaluator:
    """Evaluates candidates, as many together as are to share their images.

    Args:
        score: Scores paths together.
        metric: Key of the metric that is the fitness.
        further: Further metrics that a candidate must have.
        attempts: How often a path is tried before it counts as failed. After
            the first time it is tried alone.
        chunk: How many paths are scored together. They are yielded together,
            too: what is killed in between has lost them all.
        stopwatch: With it ``score`` measures its parts.
    """

    def __init__(
        self,
        score: Score,
        metric: str,
        attempts: int = 2,
        chunk: int = 1,
        stopwatch: Stopwatch | None = None,
        further: Sequence[str] = (),
    ) -> None:
        for name, value in (('attempts', attempts), ('chunk', chunk)):
            if value < 1:
                raise InputError(f'`{name}` must be at least 1, got {value}')
        self.score = score
        self.metric = metric
        self.further = further
        self.attempts = attempts
        self.chunk = chunk
        self.stopwatch = stopwatch or Stopwatch()

    def with_one_try(self) -> 'LocalEvaluator':
        """Returns the same, but each path is tried once."""
        other = copy(self)
        other.attempts = 1
        return other

    def evaluate(
        self, paths: Sequence[ArchPath], bars: Rungs = ()
    ) -> Iterator[Evaluation]:
        """Yields the evaluation of each path in turn.

        Args:
            paths: The paths.
            bars: Numbers of images, each with the score below which a path
                is dropped.

        Raises:
            UnknownMetricError: If the evaluator does not give the metric.
        """
        for start in range(0, len(paths), self.chunk):
            yield from self._evaluate(paths[start : start + self.chunk], bars)

    def _evaluate(
        self, paths: Sequence[ArchPath], bars: Rungs
    ) -> Iterator[Evaluation]:
        tried = self._try(paths, bars)
        for path, evaluation in zip(paths, tried, strict=True):
            for _ in range(self.attempts - 1):
                if evaluation.error is None:
                    break
                (again,) = self._try([path], bars)
                evaluation = again.after(evaluation)
            yield evaluation

    def _try(self, paths: Sequence[ArchPath], bars: Rungs) -> list[Evaluation]:
        start = time.perf_counter()
        outcomes = self.score(paths, bars)
        # Of each path its share.
        seconds = (time.perf_counter() - start) / len(paths)
        by_part = {
            part: value / len(paths)
            for part, value in self.stopwatch.seconds.items()
        }
        return [
            replace(
                judge(outcome, self.metric, self.further),
                seconds=seconds,
                seconds_by_part=by_part,
            )
            for outcome in outcomes
        ]


def one_by_one(score: Callable[[ArchPath], Mapping[str, float]]) -> Score:
    """Makes scoring paths together of a function that scores one.

    It always scores to the end, whatever the bars of a race.

    Args:
        score: Gives the metrics of a path, or raises an exception.
    """

    def score_each(
        paths: Sequence[ArchPath], bars: Rungs = ()
    ) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for path in paths:
            try:
                outcomes.append(score(path))
            except Exception as error:
                outcomes.append(error)
        return outcomes

    return score_each


def judge(
    outcome: Outcome, metric: str, further: Sequence[str] = ()
) -> Evaluation:
    """Takes the fitness out of the metrics of an evaluator.

    Args:
        outcome: What the evaluator gave, or the exception that ended the
            evaluation.
        metric: Key of the metric that is the fitness.
        further: Further metrics without which the evaluation has failed.

    Raises:
        UnknownMetricError: If there are metrics, but not one of these.
    """
    if isinstance(outcome, Exception):
        return Evaluation(None, error=describe(outcome))
    if isinstance(outcome, Raced):
        if outcome.metrics is None:
            return Evaluation(None, rungs=outcome.rungs)
        whole = judge(outcome.metrics, metric, further)
        return replace(whole, rungs=outcome.rungs)
    metrics = outcome
    numbers = {
        key: float(value)
        for key, value in metrics.items()
        if _is_number(value)
    }
    finite = {k: v for k, v in numbers.items() if math.isfinite(v)}
    if not metrics:
        # mmdet's CocoMetric gives none when no box was predicted at all.
        return Evaluation(None, error='the evaluator gave no metrics: the '
                          'detector predicted nothing')  # fmt: skip
    for name in (metric, *further):
        if name not in numbers:
            raise UnknownMetricError(
                f'the evaluator gives no {name!r}, choose one of '
                f'{", ".join(numbers)}'
            )
        if name not in finite:
            return Evaluation(None, finite, error=f'{name} is {numbers[name]}')
        if name.startswith('coco/') and finite[name] == -1:
            # What COCO's evaluation gives where there is nothing to find.
            return Evaluation(None, finite, error=f'{name} is -1: the search '
                              'split has no such object')  # fmt: skip
    return Evaluation(finite[metric], finite)


def _is_number(value: object) -> bool:
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True
