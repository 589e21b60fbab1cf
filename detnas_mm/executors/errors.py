"""What goes wrong in an evaluation, in one line."""

_LOADER = 'in DataLoader worker process'


class WrongSearchError(RuntimeError):
    """A worker has another search than the process that it works for."""


def describe(error: BaseException) -> str:
    """Returns type and message of an error in one line.

    Of an error in a worker of a data loader, which quotes a whole traceback,
    the line that names the cause.
    """
    lines = str(error).strip().splitlines() or ['']
    if _LOADER not in lines[0]:
        return f'{type(error).__name__}: {lines[0]}'
    # What comes after the last line of the traceback, which are indented.
    indented = [i for i, line in enumerate(lines[:-1]) if line[:1] == ' ']
    return lines[max(indented, default=-1) + 1]
