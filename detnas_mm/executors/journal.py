"""Finished evaluations whose turn in the record has not come."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from detnas_mm.executors.base import Evaluation
from detnas_mm.structures import ArchPath
from detnas_mm.structures.json_lines import (
    append_line,
    format_line,
    parse_line,
    whole_lines,
)
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import write_atomically


class Journal:
    """Keeps evaluations from their end until they are recorded.

    Workers finish out of order, but the record is in order: what is ahead of
    its turn is kept here, in memory and, where there is a file, on disk. A
    search that was killed and is gone on with finds it there.

    Failed evaluations stay in memory: a search that goes on tries them again.

    Only the process that has locked the record may write its journal.

    Args:
        file: The file.
        search: Digest of what defines the search. What another search has
            left in the file is dropped.

    Raises:
        InputError: If a whole line of the file is corrupt.
    """

    def __init__(
        self, file: str | os.PathLike | None = None, search: str = ''
    ) -> None:
        self.file = None if file is None else Path(file)
        self.search = search
        self._evaluations: dict[ArchPath, Evaluation] = {}
        self._asked: set[ArchPath] = set()
        self._lock = threading.Lock()
        if self.file is not None and self.file.exists():
            self._load()

    @property
    def num_asked(self) -> int:
        """Number of paths that were asked for and are not forgotten yet."""
        return len(self._asked)

    def ask(self, paths: Iterable[ArchPath]) -> list[ArchPath]:
        """Returns those paths that nobody evaluates or has evaluated yet."""
        new = [
            path
            for path in dict.fromkeys(paths)
            if path not in self._asked and self.get(path) is None
        ]
        self._asked.update(new)
        return new

    def wait_for(
        self, paths: Sequence[ArchPath], step: Callable[[], None]
    ) -> Iterator[Evaluation]:
        """Yields the evaluation of each path in turn, and forgets them all.

        Args:
            paths: The paths.
            step: Called again and again until the next one has finished.
        """
        for path in paths:
            while (evaluation := self.get(path)) is None:
                step()
            yield evaluation
        self.forget(paths)

    def get(self, path: ArchPath) -> Evaluation | None:
        """Returns the evaluation of a path that has finished."""
        return self._evaluations.get(path)

    def add(self, path: ArchPath, evaluation: Evaluation) -> None:
        """Keeps an evaluation, and returns once it is on disk.

        Raises:
            OSError: If it cannot be written.
        """
        with self._lock:
            if self.file is not None and evaluation.error is None:
                self._append(path, evaluation)
            self._evaluations[path] = evaluation

    def forget(self, paths: Iterable[ArchPath]) -> None:
        """Drops the evaluations of paths that are recorded."""
        with self._lock:
            for path in paths:
                self._evaluations.pop(path, None)
                self._asked.discard(path)
            if self.file is None:
                return
            if not self._evaluations:
                self.file.unlink(missing_ok=True)
            else:
                self._rewrite()

    def _append(self, path: ArchPath, evaluation: Evaluation) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        handle = os.open(self.file, flags, 0o666)
        try:
            if not os.fstat(handle).st_size:
                append_line(handle, self.file, self._header())
            append_line(handle, self.file, _fields(path, evaluation))
        finally:
            os.close(handle)

    def _rewrite(self) -> None:
        lines = [self._header()] + [
            _fields(path, evaluation)
            for path, evaluation in self._evaluations.items()
            if evaluation.error is None
        ]
        write_atomically(self.file, ''.join(map(format_line, lines)))

    def _load(self) -> None:
        lines, _ = whole_lines(self.file.read_bytes())
        try:
            values = list(map(parse_line, lines))
            if values and values[0] == self._header():
                for fields in values[1:]:
                    path = tuple(fields.pop('path'))
                    self._evaluations[path] = Evaluation(**fields)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f'{self.file} is corrupt ({error}); restore it from a copy, '
                'or remove it to have what it holds evaluated again'
            ) from error
        # Drops a torn last line, and what is not of this search.
        self._rewrite()

    def _header(self) -> dict[str, str]:
        return {'search': self.search}


def _fields(path: ArchPath, evaluation: Evaluation) -> dict:
    return {'path': list(path), **asdict(evaluation)}
