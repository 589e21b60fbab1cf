"""Files of JSON lines that outlive the crash of their writer.

Each line ends with a checksum of what it says: a line that was damaged or
edited is not believed. Lines without one, as older versions wrote, are.
"""

import contextlib
import json
import os
import zlib
from collections.abc import Mapping

from detnas_mm.utils.errors import InputError

_CHECKSUM = 'crc32'


def format_line(values: Mapping[str, object]) -> str:
    """Returns a line with its checksum.

    Raises:
        InputError: If a number is not finite, which JSON does not know.
    """
    return _dump({**values, _CHECKSUM: _checksum(values)}) + '\n'


def parse_line(line: str | bytes) -> dict:
    """Returns what a line says, without its checksum.

    Raises:
        InputError: If it is no JSON object, or not what was written.
    """
    values = json.loads(line)
    if not isinstance(values, dict):
        raise InputError(f'expected a JSON object, got {values!r}')
    found = values.pop(_CHECKSUM, None)
    if found is not None and found != (expected := _checksum(values)):
        raise InputError(
            f'it was changed after it was written: its checksum is '
            f'{expected}, not {found}'
        )
    return values


def _checksum(values: Mapping[str, object]) -> str:
    return f'{zlib.crc32(_dump(values).encode()):08x}'


def _dump(values: Mapping[str, object]) -> str:
    return json.dumps(values, allow_nan=False)


def append_line(
    handle: int, path: str | os.PathLike, values: Mapping[str, object]
) -> None:
    """Puts a line on disk, or leaves the file as it was.

    Args:
        handle: The file, opened for appending.
        path: Its name, for the message.
        values: What the line says.

    Raises:
        InputError: If a number is not finite, which JSON does not know.
        OSError: If the line cannot be written, on a full disk say.
    """
    line = format_line(values).encode()
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
