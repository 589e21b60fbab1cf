"""The record of a search: JSON lines, one appended for each candidate."""

import bisect
import contextlib
import json
import os
import weakref
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from detnas_mm.structures.candidate import Candidate
from detnas_mm.structures.record_header import SearchHeader
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import flush_folder, write_atomically

# The file in the work dir of a search.
RECORD = 'search_record.jsonl'


class SearchRecord:
    """Append-only record of the evaluated candidates of one search.

    The first line is the header. Each further line is a candidate, appended
    when its evaluation has finished: lines are in the order of finishing,
    and ``index`` says where a candidate belongs. A line that was being
    written when the process died is dropped when the record is opened again.

    While open for appending, the file is locked: a second search on the same
    record is refused. The operating system releases the lock when the
    process ends, however it ends.

    Args:
        path: The file, ``search_record.jsonl`` in the work dir of a search.

    Attributes:
        header: Definition of the search.
        candidates: The candidates, sorted by ``index``.
        finished: The candidates in the order of finishing.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self.header: SearchHeader | None = None
        self.candidates: list[Candidate] = []
        self.finished: list[Candidate] = []
        self._indices: set[int] = set()
        self._file: int | None = None

    @classmethod
    def read(cls, path: str | os.PathLike) -> 'SearchRecord':
        """Read a record, also while a search is writing it.

        Args:
            path: The file, or the work dir of the search.

        Raises:
            InputError: If there is no record, or it is damaged.
        """
        path = Path(path)
        record = cls(path / RECORD if path.is_dir() else path)
        if not record.path.is_file():
            raise InputError(
                f'no record of a search at {record.path}; give the work dir '
                'of tools/search.py'
            )
        record._load()
        return record

    @classmethod
    def open(
        cls,
        path: str | os.PathLike,
        header: SearchHeader,
        *,
        overwrite: bool = False,
    ) -> 'SearchRecord':
        """Open a record for appending, and create it if there is none.

        With ``overwrite`` a new record starts; the old file is kept as a copy
        with the suffix ``.bak``. A record without candidates is replaced in
        any case.
        """
        record = cls(path)
        record._lock()
        try:
            if overwrite:
                record._move_to_copy()
            record._write_header_if_new(header)
            size = record._load()
            if not record.candidates and record.header != header:
                os.truncate(record._file, 0)
                record._write_header_if_new(header)
                size = record._load()
            record._require_same(header)
            os.truncate(record._file, size)
        except BaseException:
            record.close()
            raise
        return record

    def _require_same(self, header: SearchHeader) -> None:
        if self.header.version != header.version:
            raise InputError(
                f'{self.path} was written by another version of detnas_mm '
                f'(format {self.header.version}, here it is '
                f'{header.version}); resume with that version, or use '
                'another --work-dir'
            )
        difference = self.header.difference(header)
        if difference is not None:
            raise InputError(
                f'{self.path} is the record of another search: {difference}; '
                'use another --work-dir, or the settings of that search'
            )

    def append(self, candidate: Candidate) -> None:
        """Write a candidate, and return once it is on disk.

        If this fails, as on a full disk, the earlier lines are kept.
        """
        if self._file is None:
            raise ValueError(f'{self.path} is not open for appending')
        self._require_new(candidate)
        _append_line(self._file, self.path, candidate.to_dict())
        self._add(candidate)

    def drop_last(self, count: int) -> None:
        """Remove the ``count`` candidates that finished last."""
        kept = len(self.finished) - count
        lines = self.path.read_bytes().splitlines(keepends=True)
        os.truncate(self._file, sum(map(len, lines[: kept + 1])))
        dropped, self.finished = self.finished[kept:], self.finished[:kept]
        for candidate in dropped:
            self.candidates.remove(candidate)
            self._indices.remove(candidate.index)

    def close(self) -> None:
        """Close the file and release the lock."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def __enter__(self) -> 'SearchRecord':
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _lock(self) -> None:
        # POSIX only; reading a record needs no lock.
        import fcntl

        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        self._file = os.open(self.path, flags, 0o666)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            if isinstance(error, BlockingIOError):
                raise InputError(
                    f'another search is writing {self.path}; wait for it, '
                    'stop it, or use another --work-dir'
                ) from None
            raise InputError(
                f'cannot lock {self.path}: {os.strerror(error.errno)}; use a '
                '--work-dir on a file system that has locks'
            ) from error
        # The workers of a data loader inherit the file and may outlive a
        # killed search: they must not hold its lock.
        this = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _close(this()))

    def _move_to_copy(self) -> None:
        content = self.path.read_bytes()
        # An empty record must not replace a copy that has candidates.
        if len(_whole_lines(content)[0]) > 1:
            copy = self.path.with_suffix(f'{self.path.suffix}.bak')
            write_atomically(copy, content)
        os.truncate(self._file, 0)

    def _write_header_if_new(self, header: SearchHeader) -> None:
        """Write the header into a file that has no whole line yet."""
        if b'\n' in self.path.read_bytes():
            return
        try:
            os.truncate(self._file, 0)
            _append_line(self._file, self.path, asdict(header))
            flush_folder(self.path.parent)
        except BaseException:
            self.path.unlink()
            raise

    def _load(self) -> int:
        """Read all whole lines and return their size in bytes."""
        lines, size = _whole_lines(self.path.read_bytes())
        for number, line in enumerate(lines):
            try:
                values = json.loads(line)
                if not isinstance(values, Mapping):
                    raise ValueError(f'expected a JSON object, got {values!r}')
                if number == 0:
                    self.header = SearchHeader.from_dict(values)
                else:
                    self._add(Candidate.from_dict(values))
            except (ValueError, TypeError) as error:
                raise InputError(
                    f'line {number + 1} of {self.path} is corrupt ({error}); '
                    'restore the file from a copy, or start a new search '
                    'with --overwrite'
                ) from error
        if self.header is None:
            raise InputError(
                f'{self.path} is not the record of a search: it has no header'
            )
        return size

    def _require_new(self, candidate: Candidate) -> None:
        if candidate.index in self._indices:
            raise ValueError(
                f'there are two candidates of index {candidate.index}'
            )

    def _add(self, candidate: Candidate) -> None:
        self._require_new(candidate)
        self._indices.add(candidate.index)
        self.finished.append(candidate)
        bisect.insort(self.candidates, candidate, key=lambda c: c.index)


def _close(record: SearchRecord | None) -> None:
    if record is not None:
        record.close()


def _append_line(handle: int, path: Path, values: Mapping) -> None:
    """Flush a line to disk, or leave the file as it was."""
    line = json.dumps(values, allow_nan=False).encode() + b'\n'
    size = os.fstat(handle).st_size
    try:
        while line:
            line = line[os.write(handle, line) :]
        os.fsync(handle)
    except BaseException as error:
        # A torn line stays on a disk that became read-only; readers ignore it.
        with contextlib.suppress(OSError):
            os.truncate(handle, size)
        if isinstance(error, OSError):
            raise OSError(
                error.errno,
                f'cannot write {path}: {os.strerror(error.errno)}; all earlier'
                ' lines are kept, fix the cause and resume with --resume',
            ) from error
        raise


def _whole_lines(content: bytes) -> tuple[list[bytes], int]:
    """Return all whole lines, without one torn by a crash, and their size."""
    *lines, torn = content.split(b'\n')
    return lines, len(content) - len(torn)
