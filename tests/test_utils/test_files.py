"""Atomic writing, checks of folders, digests."""

import contextlib
import hashlib
import os
import stat

import pytest

from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import (
    file_digest,
    require_writable,
    text_digest,
    write_atomically,
)


def test_text_is_written_and_replaced(tmp_path):
    file = tmp_path / 'best.json'
    write_atomically(file, 'first, and long')
    write_atomically(str(file), 'zweite: ü')
    assert file.read_bytes() == 'zweite: ü'.encode()
    assert os.listdir(tmp_path) == ['best.json']


@pytest.mark.parametrize(
    ('call', 'error'),
    [
        ('fsync', OSError(28, 'No space left')),
        ('replace', OSError(28, 'No space left')),
        ('fchmod', OSError(28, 'No space left')),
        ('fsync', KeyboardInterrupt()),
    ],
)
def test_old_file_survives_a_failure(tmp_path, monkeypatch, call, error):
    file = tmp_path / 'best.json'
    write_atomically(file, 'old')

    def fail(*_):
        raise error

    monkeypatch.setattr(os, call, fail)
    message = f'cannot write {file}: No space' if error.args else None
    with pytest.raises(type(error), match=message):
        write_atomically(file, 'new')
    assert file.read_text() == 'old'
    assert os.listdir(tmp_path) == ['best.json']


def test_path_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'file').touch()
    for name in ('none/best.json', 'folder', 'file/best.json'):
        file = tmp_path / name
        with pytest.raises(InputError, match=f'cannot write {file}: '):
            write_atomically(file, 'text')
    assert os.listdir(tmp_path / 'folder') == []


def test_mode_follows_the_umask(tmp_path):
    file = tmp_path / 'best.json'
    before = os.umask(0)
    try:
        for mask, mode in ((0o022, 0o644), (0o002, 0o664), (0o077, 0o600)):
            os.umask(mask)
            write_atomically(file, 'text')
            assert stat.S_IMODE(file.stat().st_mode) == mode
            # The umask of the process is unchanged.
            assert os.umask(mask) == mask
    finally:
        os.umask(before)


def test_digests(tmp_path):
    # SHA-256 of 'abc': FIPS 180-2, Appendix B.1.
    abc = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
    assert text_digest('abc') == abc
    content = bytes(range(256)) * 10_000
    (tmp_path / 'weights').write_bytes(content)
    expected = hashlib.sha256(content).hexdigest()
    assert file_digest(tmp_path / 'weights') == expected


@contextlib.contextmanager
def ordinary_user():
    """Run the block without the rights of root, who may write everywhere."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_folder_that_can_be_written_is_made(tmp_path):
    folder = tmp_path / 'work_dirs' / 'search'
    require_writable(folder)
    require_writable(folder)
    assert os.listdir(folder) == []


def test_folder_that_cannot_be_written_is_refused(tmp_path):
    locked = tmp_path / 'search'
    locked.mkdir()
    locked.chmod(0o500)
    file = tmp_path / 'file'
    file.touch()
    for folder in (locked, locked / 'deeper', file, file / 'search'):
        with ordinary_user(), pytest.raises(InputError) as error:
            require_writable(folder)
        line = str(error.value)
        assert line.startswith(f'cannot write to {folder}: ')
        assert line.endswith('use another --work-dir')
        assert '\n' not in line
