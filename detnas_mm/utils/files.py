"""Files that are written completely or not at all."""

import contextlib
import glob
import hashlib
import os
import tempfile
import time
from pathlib import Path

# Seconds after which nobody is still writing a temporary file.
_ABANDONED_AFTER = 3600


def write_atomically(path: str | os.PathLike, content: str | bytes) -> None:
    """Writes a file so that no reader ever sees a part of it.

    The content goes to a temporary file in the same folder, which is flushed
    to disk and renamed. Text is written as UTF-8. What a writer of this file
    left that was killed an hour ago or earlier is removed.

    Raises:
        OSError: If it cannot be written, with the reason; the old file is
            then as it was.
    """
    path = Path(path)
    if isinstance(content, str):
        content = content.encode()
    try:
        _replace(path, content)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(error.errno, f'cannot write {path}: {reason}') from error


def _remove_abandoned(path: Path) -> None:
    """Removes the temporary files that killed writers of a file left."""
    before = time.time() - _ABANDONED_AFTER
    for file in path.parent.glob(f'.{glob.escape(path.name)}.*.tmp'):
        # Another writer may be as far.
        with contextlib.suppress(FileNotFoundError):
            if file.stat().st_mtime < before:
                file.unlink()


def _replace(path: Path, content: bytes) -> None:
    _remove_abandoned(path)
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
    """Puts on disk which files a folder has, a new one say."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def require_writable(
    folder: str | os.PathLike, option: str = '--work-dir'
) -> None:
    """Makes a folder where there is none, and tries to write into it.

    Args:
        folder: The folder.
        option: What names another one on the command line.

    Raises:
        OSError: If that fails, with the reason.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b'something')
            file.flush()
    except OSError as error:
        reason = f'cannot write to {folder}: {error.strerror}'
        raise OSError(f'{reason}; use another {option}') from error


def text_digest(text: str) -> str:
    """Returns the SHA-256 digest of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: str | os.PathLike) -> str:
    """Returns the SHA-256 digest of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
