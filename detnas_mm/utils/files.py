"""Atomic writing of files, checks of folders, and digests."""

import errno
import hashlib
import os
import tempfile
from pathlib import Path

from detnas_mm.utils.errors import InputError

# The path is unusable, whatever the state of the disk.
_UNUSABLE_PATH = (
    errno.EACCES,
    errno.EISDIR,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EPERM,
)


def write_atomically(path: str | os.PathLike, content: str | bytes) -> None:
    """Write a file so that no reader ever sees a part of it.

    The content goes to a temporary file in the same folder, which is flushed
    to disk and renamed. Text is written as UTF-8.

    Raises:
        InputError: If the path is unusable: its folder is missing or not
            writable, or it is a folder itself.
        OSError: If the disk fails or is full. The old file is unchanged.
    """
    path = Path(path)
    if isinstance(content, str):
        content = content.encode()
    try:
        _replace(path, content)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        message = f'cannot write {path}: {reason}'
        if error.errno in _UNUSABLE_PATH:
            raise InputError(f'{message}; use another path') from error
        raise OSError(error.errno, message) from error


def _replace(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(
        dir=path.parent, prefix=f'.{path.name}.', suffix='.tmp'
    )
    try:
        # mkstemp makes private files; results are meant to be shared.
        umask = os.umask(0)
        os.umask(umask)
        os.fchmod(handle, 0o666 & ~umask)
        with os.fdopen(handle, 'wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def flush_folder(folder: str | os.PathLike) -> None:
    """Flush the entries of a folder, such as a new file's, to disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def require_writable(
    folder: str | os.PathLike, option: str = '--work-dir'
) -> None:
    """Create the folder that ``option`` sets, and check it is writable."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b'something')
            file.flush()
    except OSError as error:
        raise InputError(
            f'cannot write to {folder}: {error.strerror}; use another {option}'
        ) from error


def require_folder(folder: Path) -> None:
    """Raise an InputError if there is no such folder to write to."""
    if not folder.is_dir():
        raise InputError(f'no folder {folder} to write to')


def text_digest(text: str) -> str:
    """Return the SHA-256 digest of a text, in hexadecimal."""
    return bytes_digest(text.encode())


def bytes_digest(content: bytes) -> str:
    """Return the SHA-256 digest of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def file_digest(path: str | os.PathLike) -> str:
    """Return the SHA-256 digest of a file, in hexadecimal."""
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()
