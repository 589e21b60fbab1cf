"""The exception that the command lines turn into one line, and kinds."""


class InputError(ValueError):
    """An input of the user cannot be used: a setting, a file or a path.

    Raised where detnas_mm itself refuses an input. The message is one line:
    the offending value, what was expected, and what to do. Every other
    exception keeps its traceback, so that a bug never looks like a mistake of
    the user.
    """


def is_of_network(error: Exception) -> bool:
    """Return True if the values or the size of a network cause an error."""
    return isinstance(
        error, FloatingPointError | MemoryError
    ) or 'out of memory' in str(error)
