"""The interface of all executors: paths in, results out."""

import contextlib
import math
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

from detnas_mm.structures import ArchPath, Status
from detnas_mm.utils.errors import InputError, is_of_network

# Text in the first line of an error from a data-loader worker.
_LOADER = 'in DataLoader worker process'


class WrongSearchError(InputError):
    """A worker has another search than the process that it works for."""


@dataclass(frozen=True)
class Result:
    """The result of one evaluated path.

    Attributes:
        fitness: The metric that is searched for; ``None`` if it failed.
        metrics: All finite numbers that the evaluator gave.
        seconds: How long the evaluation took.
        seconds_by_part: How long each part of it took, where measured.
        error: Why it failed, in one line.
        traceback: The traceback of an error that may not be due to the path.
            If no path has a score yet, it ends the search.
    """

    fitness: float | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    seconds_by_part: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    traceback: str = ''

    @property
    def status(self) -> Status:
        """Complete if the path has a fitness."""
        return Status.COMPLETE if self.error is None else Status.FAILED


class Executor(Protocol):
    """Evaluates paths, on one or many workers.

    Used as a context manager, at whose end all workers end.
    """

    def run(
        self, paths: Sequence[ArchPath], ahead: Sequence[ArchPath] = ()
    ) -> Iterator[tuple[ArchPath, Result]]:
        """Yields each path with its result as soon as it has finished.

        The order is that of finishing. The iterator ends when all ``paths``
        have been yielded.

        Args:
            paths: Paths that are needed now, all different. Those that an
                earlier call has yielded are not among them.
            ahead: Paths that will be needed next, for workers that would
                otherwise be idle. Their results may be yielded in between, in
                this call or in a later one, each once.
        """

    def __enter__(self) -> Self:
        """Starts the workers."""

    def __exit__(self, *error: object) -> None:
        """Ends the workers, also after an error."""


@dataclass(eq=False)
class PathEvaluator:
    """Evaluates one path in this process.

    Args:
        score: Returns the metrics of a path, or raises an exception.
        metric: Key of the metric that is the fitness.
        objectives: Keys of further metrics that a candidate must have.
        seconds_by_part: Returns how long each part of the last evaluation
            took.
    """

    score: Callable[[ArchPath], Mapping[str, float]]
    metric: str
    objectives: Sequence[str] = ()
    seconds_by_part: Callable[[], Mapping[str, float]] = dict

    def __call__(self, path: ArchPath) -> Result:
        """Evaluates a path.

        An exception of ``score`` becomes a failed result. An error of the
        device is raised: the process cannot compute anything after it. So is
        a wrong input, such as an image that cannot be read.

        Raises:
            InputError: If an input is wrong, or the evaluator does not give
                the metric.
            RuntimeError: If the device has failed.
        """
        start = time.perf_counter()
        try:
            metrics = self.score(path)
        except Exception as error:
            if _is_of_device(error) or isinstance(error, InputError):
                raise
            text = '' if is_of_network(error) else traceback.format_exc()
            result = Result(None, error=describe(error), traceback=text)
        else:
            result = read_metrics(metrics, self.metric, self.objectives)
        return replace(
            result,
            seconds=time.perf_counter() - start,
            seconds_by_part=dict(self.seconds_by_part()),
        )


def read_metrics(
    metrics: Mapping[str, object], metric: str, objectives: Sequence[str] = ()
) -> Result:
    """Takes the fitness out of the metrics of an evaluator.

    ``metric`` is its key; ``objectives`` are keys of further metrics without
    which the path has failed.

    Raises:
        InputError: If the evaluator does not give one of these metrics, or
            there is nothing that it could find.
    """
    if not metrics:
        # mmdet's CocoMetric gives none when no box was predicted at all.
        return Result(
            None,
            error='the evaluator gave no metrics: the detector predicted '
            'nothing',
        )
    numbers = {}
    for key, value in metrics.items():
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            numbers[key] = float(value)
    finite = {k: v for k, v in numbers.items() if math.isfinite(v)}
    for name in (metric, *objectives):
        if name not in numbers:
            raise InputError(
                f'the evaluator gives no {name!r}, choose one of '
                f'{", ".join(numbers)}'
            )
        if name not in finite:
            return Result(None, finite, error=f'{name} is {numbers[name]}')
        # mmdet's MultiDatasetsEvaluator puts a prefix before it.
        if '/coco/' in f'/{name}' and finite[name] == -1:
            # What COCO's evaluation gives where there is nothing to find.
            raise InputError(
                f'{name} is -1: the search split has no such object'
            )
    return Result(finite[metric], finite)


def describe(error: BaseException) -> str:
    """Returns type and message of an error in one line.

    An error in a worker of a data loader quotes a whole traceback: then it is
    the line that names the cause.
    """
    lines = str(error).strip().splitlines() or ['']
    if _LOADER not in lines[0]:
        return f'{type(error).__name__}: {lines[0]}'
    # The lines of the traceback are indented; the cause follows the last.
    indented = [i for i, line in enumerate(lines[:-1]) if line[:1] == ' ']
    return lines[max(indented, default=-1) + 1]


def _is_of_device(error: Exception) -> bool:
    """Returns True if the CUDA context is lost: later paths would fail too."""
    is_of_cuda = isinstance(error, RuntimeError) and 'CUDA error' in str(error)
    return is_of_cuda and 'out of memory' not in str(error)
