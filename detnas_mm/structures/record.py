"""The record of a search: JSON lines, appended to and never rewritten."""

import fcntl
import json
import os
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from detnas_mm.structures.candidate import Candidate
from detnas_mm.structures.differences import differences
from detnas_mm.structures.json_lines import (
    append_line,
    parse_line,
    whole_lines,
)
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import flush_folder, text_digest, write_atomically

# Of the format. Since 2 the contents of annotation files define a search.
VERSION = 2
# The file in the work dir of a search.
RECORD = 'search_record.jsonl'
# The digests say whether checkpoint and config are the same, and the search
# space names its blocks; where a file lies does not matter.
_ONLY_FOR_READERS = ('config', 'checkpoint', 'imports', 'planned')
# How many differences between two searches are told.
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class SearchHeader:
    """What a search is defined by: the first line of its record.

    Two searches with equal headers give equal records (but for the times).

    Attributes:
        config: The config as JSON, without what does not change a score.
        config_digest: SHA-256 of ``config``.
        checkpoint: Path of the supernet checkpoint; only for the reader.
        checkpoint_digest: SHA-256 of the checkpoint file.
        search_space: Fields of the search space.
        constraint: Bounds on the cost.
        algorithm: Name and settings of the search algorithm.
        metric: Key of the metric that is the fitness.
        seed: Seed of the search.
        shuffle: Channel shuffle of the supernet.
        imports: Modules that register the choice blocks of an own space;
            only for the reader.
        planned: How many candidates were to be evaluated when the search
            began, 0 if unknown; only for the reader.
        version: Version of the format.
    """

    config: str
    config_digest: str
    checkpoint: str
    checkpoint_digest: str
    search_space: Mapping
    constraint: Mapping
    algorithm: Mapping
    metric: str
    seed: int
    shuffle: str = 'grouped'
    imports: Sequence[str] = field(default_factory=list)
    planned: int = 0
    version: int = VERSION

    @property
    def settings(self) -> object:
        """The settings of the config, or its text if it is no JSON."""
        try:
            return json.loads(self.config)
        except ValueError:
            return self.config

    @property
    def digest(self) -> str:
        """Digest of what defines the search."""
        defining = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in _ONLY_FOR_READERS
        }
        return text_digest(json.dumps(defining, sort_keys=True))

    def difference(self, other: 'SearchHeader') -> str | None:
        """Returns the first things that differ between two searches."""
        changes = [
            change
            for field in fields(self)
            if field.name not in _ONLY_FOR_READERS
            for change in self._changes(other, field.name)
        ]
        if not changes:
            return None
        more = len(changes) - _SHOWN
        shown = '; '.join(changes[:_SHOWN])
        return shown + (f'; and {more} more' if more > 0 else '')

    def _changes(self, other: 'SearchHeader', name: str) -> list[str]:
        values = getattr(self, name), getattr(other, name)
        changes = list(differences(*values, name))
        if changes and name == 'config_digest':
            trees = self.settings, other.settings
            return list(differences(*trees, 'config')) or changes
        return changes


class SearchRecord:
    """Append-only record of the evaluated candidates of one search.

    The first line is the header, each further line one candidate, in the
    order of ``index``. A line that was being written when the process died
    is dropped when the record is opened again.

    While open for appending, the file is locked: a second search on the same
    record is refused. The operating system gives the lock back when the
    process ends, however it ends.

    Args:
        path: The file, ``search_record.jsonl`` in the work dir of a search.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self.header: SearchHeader | None = None
        self.candidates: list[Candidate] = []
        self._file: int | None = None

    @classmethod
    def read(cls, path: str | os.PathLike) -> 'SearchRecord':
        """Reads a record, also one that a running search is writing.

        Raises:
            InputError: If there is no such file.
            InputError: If a line but the last is corrupt.
        """
        record = cls(path)
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
        """Opens a record for appending; makes it where there is none.

        Args:
            path: The file.
            header: What the search is defined by.
            overwrite: Whether to begin anew; what the file holds is kept in
                a copy beside it, ``.bak``. A record without candidates is
                begun anew in any case.

        Raises:
            InputError: If the file is the record of another search, or
                corrupt.
            BlockingIOError: If another process appends to it.
            OSError: If it cannot be written or locked.
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
            record.require_same(header)
            os.truncate(record._file, size)
        except BaseException:
            record.close()
            raise
        return record

    def require_same(self, header: SearchHeader) -> None:
        """Makes sure that this is the record of a search.

        Args:
            header: What the search is defined by.

        Raises:
            InputError: If it is that of another one, or was written by
                another version.
        """
        if self.header.version != header.version:
            raise InputError(
                f'{self.path} was written by another version of detnas_mm '
                f'(format {self.header.version}, here it is '
                f'{header.version}); go on with that version, or search anew '
                'in another work dir'
            )
        difference = self.header.difference(header)
        if difference is not None:
            raise InputError(
                f'{self.path} is the record of another search: {difference}; '
                'use another work dir, or the settings of that search'
            )

    def append(self, candidate: Candidate) -> None:
        """Writes a candidate, and returns once it is on disk.

        Raises:
            InputError: If it is not the next one.
            OSError: If the disk is full, say; what was recorded before is
                kept.
        """
        if self._file is None:
            raise InputError(f'{self.path} is not open for appending')
        if candidate.index != len(self.candidates):
            raise InputError(
                f'the next candidate of {self.path} has index '
                f'{len(self.candidates)}, got {candidate.index}'
            )
        append_line(self._file, self.path, candidate.to_dict())
        self.candidates.append(candidate)

    def drop_last(self, count: int) -> None:
        """Takes back the last candidates, to have them evaluated again."""
        kept = len(self.candidates) - count
        lines = self.path.read_bytes().splitlines(keepends=True)
        os.truncate(self._file, sum(map(len, lines[: kept + 1])))
        del self.candidates[kept:]

    def close(self) -> None:
        """Closes the file and gives the lock back."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def __enter__(self) -> 'SearchRecord':
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _lock(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        self._file = os.open(self.path, flags, 0o666)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise BlockingIOError(
                f'another search is writing {self.path}; wait for it, stop '
                'it, or use another work dir'
            ) from None
        except OSError as error:
            self.close()
            raise OSError(
                error.errno,
                f'cannot lock {self.path}: {os.strerror(error.errno)}; use a '
                'work dir on a file system that has locks',
            ) from error
        # The workers of a data loader inherit the file, and may outlive a
        # killed search: they must not hold its lock.
        this = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _close(this()))

    def _move_to_copy(self) -> None:
        content = self.path.read_bytes()
        # Else a second try would replace what was found by nothing.
        if len(whole_lines(content)[0]) > 1:
            copy = self.path.with_suffix(f'{self.path.suffix}.bak')
            write_atomically(copy, content)
        os.truncate(self._file, 0)

    def _write_header_if_new(self, header: SearchHeader) -> None:
        """Writes the header into a file that has no whole line yet."""
        if b'\n' in self.path.read_bytes():
            return
        try:
            os.truncate(self._file, 0)
            append_line(self._file, self.path, asdict(header))
            flush_folder(self.path.parent)
        except BaseException:
            self.path.unlink()
            raise

    def _load(self) -> int:
        """Reads all whole lines and returns how many bytes they have."""
        lines, size = whole_lines(self.path.read_bytes())
        for number, line in enumerate(lines):
            try:
                self._read_line(number, parse_line(line))
            except (ValueError, TypeError) as error:
                raise InputError(
                    f'line {number + 1} of {self.path} is corrupt ({error}); '
                    'restore the file from a copy, or remove it to start '
                    'anew'
                ) from error
        if self.header is None:
            raise InputError(
                f'{self.path} is not the record of a search: it has no header'
            )
        return size

    def _read_line(self, number: int, values: Mapping) -> None:
        if number == 0:
            # A newer version may have added fields.
            known = {field.name for field in fields(SearchHeader)}
            self.header = SearchHeader(
                **{key: values[key] for key in values if key in known}
            )
            return
        candidate = Candidate.from_dict(values)
        if candidate.index != number - 1:
            raise InputError(
                f'index {candidate.index} where {number - 1} was expected'
            )
        self.candidates.append(candidate)


def _close(record: SearchRecord | None) -> None:
    if record is not None:
        record.close()
