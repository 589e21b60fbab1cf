"""Validations that leave no trace in the log."""

import contextlib
import io
import logging
import threading
from collections.abc import Iterator

from mmengine.runner import Runner


@contextlib.contextmanager
def silenced(runner: Runner) -> Iterator[None]:
    """Keeps the output of a validation off the screen and the charts.

    To MMEngine's hooks all validations of a search belong to epoch 0.
    :class:`detnas_mm.engine.search.progress.SearchProgress` writes what the
    log and the visualizer get instead, in another thread if need be: only
    this thread is silenced.

    Args:
        runner: The runner that validates.
    """
    thread = threading.get_ident()
    add_scalars = runner.visualizer.add_scalars

    def add_scalars_of_others(*args: object, **kwargs: object) -> None:
        if threading.get_ident() != thread:
            add_scalars(*args, **kwargs)

    def is_shown(record: logging.LogRecord) -> bool:
        return record.thread != thread or record.levelno >= logging.WARNING

    runner.logger.addFilter(is_shown)
    runner.visualizer.add_scalars = add_scalars_of_others
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        del runner.visualizer.add_scalars
        runner.logger.removeFilter(is_shown)
