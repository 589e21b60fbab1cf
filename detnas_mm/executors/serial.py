"""Evaluation of candidates by the process that searches."""

from collections.abc import Iterator, Sequence

from detnas_mm.executors.base import Evaluation, LocalEvaluator
from detnas_mm.executors.journal import Journal
from detnas_mm.structures import ArchPath, Rungs


class InProcessEvaluator:
    """Evaluates candidates in this process.

    Args:
        local: Evaluates candidates.
        journal: Has what other processes had finished, when the search was
            theirs and was stopped.
    """

    def __init__(
        self, local: LocalEvaluator, journal: Journal | None = None
    ) -> None:
        self.local = local
        self.journal = journal or Journal()

    def evaluate(
        self,
        paths: Sequence[ArchPath],
        ahead: Sequence[ArchPath] = (),
        bars: Rungs = (),
    ) -> Iterator[Evaluation]:
        """Yields the evaluation of each path in turn.

        Args:
            paths: The paths.
            ahead: Ignored: there is no other worker.
            bars: Numbers of images, each with the score below which a path
                is dropped.

        Raises:
            UnknownMetricError: If the evaluator does not give the metric.
        """
        known = {path: self.journal.get(path) for path in paths}
        unknown = [path for path in paths if known[path] is None]
        evaluations = self.local.evaluate(unknown, bars)
        for path in paths:
            yield known[path] or next(evaluations)
        self.journal.forget(paths)
