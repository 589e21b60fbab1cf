"""Measures where the time of a validation goes."""

import time

from mmengine.hooks import Hook
from mmengine.runner import Runner

# The parts of a candidate's evaluation, in their order.
CALIBRATION = 'calibration'
READING = 'reading'
INFERENCE = 'inference'
METRIC = 'metric'
PARTS = (CALIBRATION, READING, INFERENCE, METRIC)


class PartTimerHook(Hook):
    """Divides the time of a validation into parts.

    Calibration includes the reading of its images. On a GPU the parts are
    right as long as each ends with a result that the CPU has waited for, as
    calibration, inference and metrics do.

    Attributes:
        seconds: Seconds of each part of the last validation.
    """

    priority = 'HIGHEST'

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = 0.0

    def before_val(self, runner: Runner) -> None:
        """Starts a new measurement."""
        self.seconds = {}
        self._last = time.perf_counter()

    def before_val_epoch(self, runner: Runner) -> None:
        """BN statistics have been recomputed."""
        self._lap(CALIBRATION)

    def before_val_iter(self, *args: object, **kwargs: object) -> None:
        """A batch has been read."""
        self._lap(READING)

    def after_val_iter(self, *args: object, **kwargs: object) -> None:
        """A batch has been predicted."""
        self._lap(INFERENCE)

    def after_val_epoch(
        self, runner: Runner, metrics: dict | None = None
    ) -> None:
        """The metrics have been computed."""
        self._lap(METRIC)

    def _lap(self, part: str) -> None:
        now = time.perf_counter()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._last
        self._last = now
