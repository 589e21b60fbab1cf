"""Files of JSON lines that outlive the crash of their writer."""

import contextlib
import json
import os
from collections.abc import Mapping


def append_line(
    handle: int, path: str | os.PathLike, values: Mapping[str, object]
) -> None:
    """Puts a line on disk, or leaves the file as it was.

    Args:
        handle: The file, opened for appending.
        path: Its name, for the message.
        values: What the line says.

    Raises:
        ValueError: If a number is not finite, which JSON does not know.
        OSError: If the line cannot be written, on a full disk say.
    """
    line = (json.dumps(values, allow_nan=False) + '\n').encode()
    size = os.fstat(handle).st_size
    try:
        while line:
            line = line[os.write(handle, line) :]
        os.fsync(handle)
    except BaseException as error:
        # A disk that has become read-only keeps a torn line, which is known.
        with contextlib.suppress(OSError):
            os.truncate(handle, size)
        if isinstance(error, OSError):
            raise OSError(
                error.errno,
                f'cannot write {path}: {os.strerror(error.errno)}; what was '
                'recorded before is kept, mend it and go on with --resume',
            ) from error
        raise


def whole_lines(content: bytes) -> tuple[list[bytes], int]:
    """Returns all whole lines, and how many bytes they have.

    What follows the last newline was cut off by a crash: it does not count.
    """
    *lines, torn = content.split(b'\n')
    return lines, len(content) - len(torn)
