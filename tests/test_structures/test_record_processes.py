"""A record that several processes want, and a disk that is full."""

import contextlib
import errno
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kit.disks import full_disk
from kit.records import HEADER, candidate

from detnas_mm.structures import SearchRecord
from detnas_mm.utils.errors import InputError

TESTS = Path(__file__).parents[1]
# Opens the record, says so, and appends for as long as it is left alive.
HOLDER = """
import sys, time
from kit.records import HEADER, candidate
from detnas_mm.structures import SearchRecord
record = SearchRecord.open(sys.argv[1], HEADER)
print('open', flush=True)
for index in range(len(record.candidates), int(sys.argv[2])):
    record.append(candidate(index, path='0123' * 50))
time.sleep(60)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'record'


@contextlib.contextmanager
def held(path, appends=0):
    """A process that holds a record; it is killed in the end."""
    process = subprocess.Popen(
        [sys.executable, '-c', HOLDER, str(path), str(appends)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHONPATH': f'{TESTS}:{TESTS.parent}'},
    )
    try:
        assert process.stdout.readline() == 'open\n'
        yield
    finally:
        process.kill()
        process.wait()


def test_a_second_search_is_refused_until_the_first_is_killed(path):
    with held(path):
        with pytest.raises(InputError, match='another search') as error:
            SearchRecord.open(path, HEADER)
        assert str(path) in str(error.value)
        # Reading needs no lock.
        assert SearchRecord.read(path).candidates == []
    with SearchRecord.open(path, HEADER) as record:
        record.append(candidate(0))
        # The same process is refused as well.
        with pytest.raises(InputError, match='another search'):
            SearchRecord.open(path, HEADER)
    SearchRecord.open(path, HEADER).close()


def test_what_is_read_during_writing_is_whole(path):
    seen = []
    with held(path, appends=100_000):
        start = time.monotonic()
        while len(set(seen)) < 5 and time.monotonic() - start < 30:
            record = SearchRecord.read(path)
            assert record.header == HEADER
            seen.append(len(record.candidates))
    assert len(set(seen)) >= 5
    assert seen == sorted(seen)
    # Killed in the middle of it: nothing that was seen is lost.
    with SearchRecord.open(path, HEADER) as record:
        assert len(record.candidates) >= seen[-1]
        record.append(candidate(len(record.candidates)))


@pytest.mark.parametrize('room', [0, 9])
def test_full_disk_keeps_what_was_there(path, room):
    """The disk takes a part of a line, and there is room again later."""
    with SearchRecord.open(path, HEADER) as record:
        record.append(candidate(0))
        before = path.read_bytes()
        with (
            full_disk(path, room),
            pytest.raises(OSError, match='too large') as error,
        ):
            record.append(candidate(1))
        assert str(path) in str(error.value)
        assert '--resume' in str(error.value)
        assert '\n' not in str(error.value)
        assert record.candidates == [candidate(0)]

    # The candidate that could not be written is not there later.
    assert path.read_bytes() == before
    with SearchRecord.open(path, HEADER) as record:
        record.append(candidate(1))
    assert SearchRecord.read(path).candidates == [candidate(0), candidate(1)]


def fails(code):
    """Does as a file system does that refuses."""

    def refuse(*_):
        raise OSError(code, os.strerror(code))

    return refuse


def test_a_disk_that_becomes_read_only_keeps_what_was_there(path, monkeypatch):
    """The torn line cannot be removed then, but does not count."""
    with SearchRecord.open(path, HEADER) as record:
        record.append(candidate(0))
        with monkeypatch.context() as patch:
            patch.setattr(os, 'fsync', fails(errno.EROFS))
            patch.setattr(os, 'truncate', fails(errno.EROFS))
            expected = f'cannot write {path}: Read-only.*--resume'
            with pytest.raises(OSError, match=expected):
                record.append(candidate(1))
    path.write_bytes(path.read_bytes()[:-9])
    with SearchRecord.open(path, HEADER) as record:
        assert record.candidates == [candidate(0)]


def test_a_disk_without_locks_is_named(path, monkeypatch):
    """No other search holds the record."""
    monkeypatch.setattr(fcntl, 'flock', fails(errno.ENOLCK))
    with pytest.raises(InputError, match='cannot lock .*record'):
        SearchRecord.open(path, HEADER)


def test_of_two_searches_that_start_together_one_has_the_record(
    path, monkeypatch
):
    holders = []

    def start_search():
        with contextlib.suppress(InputError):
            holders.append(SearchRecord.open(path, HEADER))

    def fsync(handle, real=os.fsync):
        # The second search starts while the first one writes the header.
        monkeypatch.setattr(os, 'fsync', real)
        start_search()
        real(handle)

    monkeypatch.setattr(os, 'fsync', fsync)
    start_search()
    assert len(holders) == 1
    with holders[0] as record:
        record.append(candidate(0))
    assert SearchRecord.read(path).candidates == [candidate(0)]


def test_no_record_is_left_where_its_header_cannot_be_written(
    path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(os, 'fsync', fails(errno.ENOSPC))
        with pytest.raises(OSError, match='No space'):
            SearchRecord.open(path, HEADER)
    assert not path.exists()
