"""Evaluation in the process of the search, one path after the other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from detnas_mm.executors.base import PathEvaluator, Result
from detnas_mm.structures import ArchPath


@dataclass(eq=False)
class Serial:
    """Evaluates paths in this process.

    Args:
        evaluate: Evaluates one path.
    """

    evaluate: PathEvaluator

    def run(
        self, paths: Sequence[ArchPath], ahead: Sequence[ArchPath] = ()
    ) -> Iterator[tuple[ArchPath, Result]]:
        """Yields each path with its result; ``ahead`` is for other workers."""
        for path in paths:
            yield path, self.evaluate(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Has nothing to end."""
