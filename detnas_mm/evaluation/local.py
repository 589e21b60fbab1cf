"""Evaluation of candidates, one after the other in this process."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from detnas_mm.structures import Path

from .errors import describe

# Activates a path and returns the metrics of the evaluator.
Score = Callable[[Path], Mapping[str, float]]


class UnknownMetricError(ValueError):
    """The evaluator does not give the metric that is searched for."""


@dataclass(frozen=True)
class Evaluation:
    """What came out of the evaluation of a path.

    Attributes:
        fitness: The metric that is searched for; ``None`` if it failed.
        metrics: All finite numbers that the evaluator gave.
        seconds: How long it took.
        error: Why it failed, in one line.
    """

    fitness: float | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    error: str | None = None


class CandidateEvaluator(Protocol):
    """Paths in, evaluations out, in the order of the paths."""

    def evaluate(
        self, paths: Sequence[Path], ahead: Sequence[Path] = ()
    ) -> Iterator[Evaluation]:
        """Yields the evaluation of each path as soon as its turn comes.

        Args:
            paths: The paths.
            ahead: What will be asked for next, for workers that would
                otherwise have nothing to do.
        """


class LocalEvaluator:
    """Evaluates candidates one after the other.

    Args:
        score: Scores a path.
        metric: Key of the metric that is the fitness.
        attempts: How often a path is tried before it counts as failed.
    """

    def __init__(self, score: Score, metric: str, attempts: int = 2) -> None:
        self.score = score
        self.metric = metric
        if attempts < 1:
            raise ValueError(f'`attempts` must be at least 1, got {attempts}')
        self.attempts = attempts

    def evaluate(self, paths: Sequence[Path]) -> Iterator[Evaluation]:
        """Yields the evaluation of each path in turn.

        Raises:
            UnknownMetricError: If the evaluator does not give the metric.
        """
        for path in paths:
            yield self._evaluate_one(path)

    def _evaluate_one(self, path: Path) -> Evaluation:
        start = time.perf_counter()
        for _ in range(self.attempts):
            evaluation = self._try(path)
            if evaluation.error is None:
                break
        seconds = time.perf_counter() - start
        return Evaluation(
            evaluation.fitness, evaluation.metrics, seconds, evaluation.error
        )

    def _try(self, path: Path) -> Evaluation:
        try:
            metrics = self.score(path)
        except Exception as error:
            return Evaluation(None, error=describe(error))
        return judge(metrics, self.metric)


def judge(metrics: Mapping[str, object], metric: str) -> Evaluation:
    """Takes the fitness out of the metrics of an evaluator.

    Args:
        metrics: What the evaluator gave.
        metric: Key of the metric that is the fitness.

    Raises:
        UnknownMetricError: If there are metrics, but not this one.
    """
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
    if metric not in numbers:
        raise UnknownMetricError(
            f'the evaluator gives no {metric!r}, choose one of '
            f'{", ".join(numbers)}'
        )
    if metric not in finite:
        return Evaluation(None, finite, error=f'{metric} is {numbers[metric]}')
    if metric.startswith('coco/') and finite[metric] == -1:
        # What COCO's evaluation gives where there is nothing to find.
        return Evaluation(None, finite, error=f'{metric} is -1: the search '
                          'split has no such object')  # fmt: skip
    return Evaluation(finite[metric], finite)


def _is_number(value: object) -> bool:
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True
