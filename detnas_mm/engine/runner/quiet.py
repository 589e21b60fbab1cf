"""Validations that leave no trace in the log."""

import contextlib
import io
import logging
from collections.abc import Iterator

from mmengine.runner import Runner


@contextlib.contextmanager
def quiet(runner: Runner) -> Iterator[None]:
    """Keeps the output of a validation off the screen and the charts.

    To MMEngine's hooks all validations of a search are those of epoch 0; what
    the visualizer gets comes from
    :class:`detnas_mm.engine.search.progress.SearchProgress`.

    Args:
        runner: The runner that validates.
    """
    level = runner.logger.level
    runner.logger.setLevel(logging.WARNING)
    runner.visualizer.add_scalars = lambda *_, **__: None
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        del runner.visualizer.add_scalars
        runner.logger.setLevel(level)
