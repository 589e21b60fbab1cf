"""The one exception that the command lines turn into one line."""


class InputError(ValueError):
    """A setting, file or path that the user gave cannot be used.

    Raised where detnas_mm itself refuses an input. The message is one line:
    the offending value, what was expected, and what to do. Every other
    exception keeps its traceback, so that a bug never looks like a mistake of
    the user.
    """
