"""Ctrl-C and SIGTERM, which schedulers send: an end within seconds."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to stop.

    Args:
        signum: The signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f'stopped by {signal.Signals(signum).name}')
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """The exit code that shells give for this signal: 130 or 143."""
        return 128 + self.signum


@contextmanager
def stop_on_signals(grace: float = 10.0) -> Iterator[None]:
    """Lets SIGINT and SIGTERM raise :class:`Interrupted` in a ``with`` block.

    Only the first signal counts: launchers send several. If the block does
    not end within the time of grace, since a library swallows the exception
    or hangs, the process ends without further ado: what is worth keeping is
    on disk at any time.

    Args:
        grace: Seconds that the block has to end.
    """
    timers: list[threading.Timer] = []

    def stop(signum: int, _: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        timer = threading.Timer(grace, os._exit, [128 + signum])
        timer.daemon = True
        timer.start()
        timers.append(timer)
        raise Interrupted(signum)

    before = {each: signal.signal(each, stop) for each in _SIGNALS}
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
        for each, handler in before.items():
            signal.signal(each, handler)


def interrupt_main_thread() -> None:
    """Interrupts what the main thread does, as Ctrl-C would."""
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
