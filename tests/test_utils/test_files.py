"""Files that are written completely or not at all."""

import contextlib
import hashlib
import os
import stat

import pytest

from detnas_mm.utils.files import (
    file_digest,
    require_writable,
    text_digest,
    write_atomically,
)


@pytest.fixture
def umask():
    """Sets the umask of the process, and puts the old one back."""
    before = os.umask(0)
    yield os.umask
    os.umask(before)


def test_text_is_written_and_replaced(tmp_path):
    file = tmp_path / 'best.json'
    write_atomically(file, 'first, and long')
    write_atomically(str(file), 'zweite: ü')
    assert file.read_bytes() == 'zweite: ü'.encode()
    assert os.listdir(tmp_path) == ['best.json']


@pytest.mark.parametrize('call', ['fsync', 'replace', 'fchmod'])
def test_old_file_survives_a_failure(tmp_path, monkeypatch, call):
    file = tmp_path / 'best.json'
    write_atomically(file, 'old')

    def fail(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match=f'cannot write {file}: No space'):
        write_atomically(file, 'new')
    assert file.read_text() == 'old'
    assert os.listdir(tmp_path) == ['best.json']


def test_old_file_survives_an_interrupt(tmp_path, monkeypatch):
    file = tmp_path / 'best.json'
    write_atomically(file, 'old')

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'fsync', interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(file, 'new')
    assert file.read_text() == 'old'
    assert os.listdir(tmp_path) == ['best.json']


def test_text_that_is_no_unicode_leaves_the_old_file(tmp_path):
    file = tmp_path / 'best.json'
    write_atomically(file, 'old')
    with pytest.raises(UnicodeEncodeError):
        write_atomically(file, '\ud800')
    assert file.read_text() == 'old'
    assert os.listdir(tmp_path) == ['best.json']


def test_what_killed_writers_left_is_removed(tmp_path):
    """Only of this file, and not what may still be written."""
    names = ['.best.json.a.tmp', '.best.json.b.tmp', '.other.json.a.tmp']
    for name in names:
        (tmp_path / name).write_text('a part')
        if name != '.best.json.b.tmp':
            os.utime(tmp_path / name, (0, 0))
    write_atomically(tmp_path / 'best.json', 'text')
    assert sorted(os.listdir(tmp_path)) == [*names[1:], 'best.json']


def test_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / 'none' / 'best.json', 'text')


@pytest.mark.parametrize(
    ('mask', 'mode'), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)]
)
def test_mode_follows_the_umask(tmp_path, umask, mask, mode):
    umask(mask)
    file = tmp_path / 'best.json'
    write_atomically(file, 'text')
    assert stat.S_IMODE(file.stat().st_mode) == mode
    # And the umask of the process is as before.
    assert umask(mask) == mask


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
    """Root may write everywhere."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_can_be_written_is_made(tmp_path):
    folder = tmp_path / 'work_dirs' / 'search'
    require_writable(folder)
    require_writable(folder)
    assert os.listdir(folder) == []


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    folder = tmp_path / 'search'
    folder.mkdir()
    folder.chmod(0o500)
    for one in (folder, folder / 'deeper'):
        with (
            ordinary_user(),
            pytest.raises(OSError, match='cannot write to') as error,
        ):
            require_writable(one)
        assert str(one) in str(error.value)
        assert '--work-dir' in str(error.value)
        assert '\n' not in str(error.value)


def test_a_file_is_no_folder(tmp_path):
    file = tmp_path / 'file'
    file.write_text('')
    for one in (file, file / 'search'):
        with pytest.raises(OSError, match='cannot write to'):
            require_writable(one)
