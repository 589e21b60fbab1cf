"""Where the time of an evaluation goes."""

import time

# The parts of an evaluation, in their order.
READING = 'reading'
CALIBRATION = 'calibration'
INFERENCE = 'inference'
METRIC = 'metric'
PARTS = (READING, CALIBRATION, INFERENCE, METRIC)


class Stopwatch:
    """Divides time into parts: each lap is the end of one.

    On a GPU the parts are right as long as each ends with a result that the
    CPU has waited for, as calibration, inference and metrics do.

    Attributes:
        seconds: How long each part took since the start, all laps together.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = 0.0

    def start(self) -> None:
        """Starts anew."""
        self.seconds = {}
        self._last = time.perf_counter()

    def lap(self, part: str) -> None:
        """Counts the time since the last lap as that of a part."""
        now = time.perf_counter()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._last
        self._last = now
