"""A record that several processes want, and a disk that is full."""

import contextlib
import errno
import fcntl
import os
import signal
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
from kit.disks import full_disk
from kit.records import HEADER, candidate
from detnas_mm.structures import SearchRecord
record = SearchRecord.open(sys.argv[1], HEADER)
print('open', flush=True)
for index in range(len(record.candidates), int(sys.argv[2])):
    record.append(candidate(index, path='0123' * 50))
time.sleep(60)
"""


@pytest.fixture
def hold():
    """Starts processes that hold a record; ends those left over."""
    started = []

    def start(path, appends=0):
        process = subprocess.Popen(
            [sys.executable, '-c', HOLDER, str(path), str(appends)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, 'PYTHONPATH': str(TESTS)},
        )
        started.append(process)
        assert process.stdout.readline() == 'open\n'
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_second_search_is_refused_until_the_first_is_killed(tmp_path, hold):
    path = tmp_path / 'record'
    process = hold(path)
    with pytest.raises(InputError, match='another search') as error:
        SearchRecord.open(path, HEADER)
    assert str(path) in str(error.value)
    # Reading needs no lock.
    assert SearchRecord.read(path).candidates == []

    process.send_signal(signal.SIGKILL)
    process.wait()
    with SearchRecord.open(path, HEADER) as record:
        record.append(candidate(0))
        # The same process is refused as well.
        with pytest.raises(InputError, match='another search'):
            SearchRecord.open(path, HEADER)
    SearchRecord.open(path, HEADER).close()


def test_what_is_read_during_writing_is_whole(tmp_path, hold):
    path = tmp_path / 'record'
    process = hold(path, appends=100_000)
    seen = []
    start = time.monotonic()
    while len(set(seen)) < 5 and time.monotonic() - start < 30:
        record = SearchRecord.read(path)
        assert record.header == HEADER
        seen.append(len(record.candidates))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(set(seen)) >= 5
    assert seen == sorted(seen)
    # Killed in the middle of it: nothing that was seen is lost.
    with SearchRecord.open(path, HEADER) as record:
        assert len(record.candidates) >= seen[-1]
        record.append(candidate(len(record.candidates)))


@pytest.mark.parametrize('room', [0, 9])
def test_full_disk_keeps_what_was_there(tmp_path, room):
    """The disk takes a part of a line, and there is room again later."""
    path = tmp_path / 'record'
    with SearchRecord.open(path, HEADER) as record:
        record.append(candidate(0))
    before = path.read_bytes()

    with SearchRecord.open(path, HEADER) as record:
        with (
            full_disk(path, room),
            pytest.raises(OSError, match='too large') as error,
        ):
            record.append(candidate(1))
        assert str(path) in str(error.value)
        assert '--resume' in str(error.value)
        assert '\n' not in str(error.value)
        assert record.candidates == [candidate(0)]

    assert path.read_bytes().startswith(before)
    # What was said to have failed is not there later.
    assert SearchRecord.read(path).candidates == [candidate(0)]
    with SearchRecord.open(path, HEADER) as record:
        record.append(candidate(1))
    assert SearchRecord.read(path).candidates == [candidate(0), candidate(1)]


def fails(code):
    """Does as a file system does that refuses."""

    def refuse(*_):
        raise OSError(code, os.strerror(code))

    return refuse


def test_a_disk_that_becomes_read_only_keeps_what_was_there(
    tmp_path, monkeypatch
):
    """What is torn then cannot be taken back, but does not count."""
    path = tmp_path / 'record'
    with SearchRecord.open(path, HEADER) as record:
        record.append(candidate(0))
        with monkeypatch.context() as patch:
            patch.setattr(os, 'fsync', fails(errno.EROFS))
            patch.setattr(os, 'truncate', fails(errno.EROFS))
            with pytest.raises(OSError, match='Read-only') as error:
                record.append(candidate(1))
        assert f'cannot write {path}' in str(error.value)
        assert '--resume' in str(error.value)
    path.write_bytes(path.read_bytes()[:-9])
    with SearchRecord.open(path, HEADER) as record:
        assert record.candidates == [candidate(0)]


def test_a_disk_without_locks_is_named(tmp_path, monkeypatch):
    """It is no other search that holds the record."""
    monkeypatch.setattr(fcntl, 'flock', fails(errno.ENOLCK))
    with pytest.raises(InputError, match='cannot lock .*record'):
        SearchRecord.open(tmp_path / 'record', HEADER)


def test_of_two_searches_that_start_together_one_has_the_record(
    tmp_path, monkeypatch
):
    path = tmp_path / 'record'
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
    tmp_path, monkeypatch
):
    def fail(_):
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(os, 'fsync', fail)
        with pytest.raises(OSError, match='No space'):
            SearchRecord.open(tmp_path / 'record', HEADER)
    assert os.listdir(tmp_path) == []
