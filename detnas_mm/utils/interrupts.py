"""Ctrl-C and SIGTERM, which schedulers send: an end within seconds."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to stop.

    Args:
        signum: The signal.
        hint: What the user should know.
    """

    def __init__(self, signum: int, hint: str = '') -> None:
        message = f'stopped by {signal.Signals(signum).name}'
        super().__init__('; '.join(filter(None, [message, hint])))
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """The exit code that shells give for this signal: 130 or 143."""
        return 128 + self.signum


@contextmanager
def stop_on_signals(hint: str = '', grace: float = 10.0) -> Iterator[None]:
    """Lets SIGINT and SIGTERM raise :class:`Interrupted` in a ``with`` block.

    Only the first signal counts: launchers send several. If the block does
    not end within the time of grace, since a library swallows the exception
    or hangs, the process ends without further ado: what is worth keeping is
    on disk at any time.

    Child processes that are forked in the block do not take part. A signal
    ends them alone, such as that with which a pool ends its workers: mmdet's
    evaluation on VOC has one.

    Args:
        hint: What the user should know; part of the exception's message.
        grace: Seconds that the block has to end.
    """

    def stop(signum: int, _: FrameType | None) -> None:
        _set_handlers(dict.fromkeys(_SIGNALS, signal.SIG_IGN))
        expect_ended_children()
        raise Interrupted(signum, hint)

    before = {each: signal.getsignal(each) for each in _SIGNALS}
    ended = threading.Event()

    def leave_to_the_parent() -> None:
        if not ended.is_set():
            # What it wakes up is a thread of the parent.
            signal.set_wakeup_fd(-1)
            _set_handlers(before)

    _in_forked_children(leave_to_the_parent)
    with _end_after(grace, hint, ended):
        _set_handlers(dict.fromkeys(_SIGNALS, stop))
        try:
            yield
        finally:
            _set_handlers(before)


def let_sigterm_end_children() -> None:
    """Lets SIGTERM end any child process that is forked from now on.

    For a process whose handler of it is not ours, such as a worker of Ray:
    its children would have that handler, and pools end theirs by SIGTERM.
    """
    _in_forked_children(
        partial(_set_handlers, {signal.SIGTERM: signal.SIG_DFL})
    )


def _in_forked_children(set_handlers: Callable[[], None]) -> None:
    """Sets the handlers of children before any signal reaches them."""

    def start_child() -> None:
        set_handlers()
        _unblock()

    os.register_at_fork(
        before=_block, after_in_parent=_unblock, after_in_child=start_child
    )


def _set_handlers(handlers: Mapping[signal.Signals, object]) -> None:
    for signum, handler in handlers.items():
        signal.signal(signum, handler)


def _block() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


@contextmanager
def _end_after(
    grace: float, hint: str, ended: threading.Event
) -> Iterator[None]:
    """Ends the process some seconds after a signal, unless the block has.

    A handler of Python's runs only when the main thread comes back from what
    it calls, which may wait for another machine. The signal is therefore
    noticed by a thread.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def watch() -> None:
        with open(reader, 'rb', buffering=0) as signals:
            while byte := signals.read(1):
                signum = byte[0]
                if signum in _SIGNALS and not ended.wait(grace):
                    _give_up(Interrupted(signum, hint))

    threading.Thread(target=watch, daemon=True).start()
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(before)
        os.close(writer)


def expect_ended_children() -> None:
    """Lets child processes end without an error in this one.

    To be called when the process is about to end. PyTorch has a handler for
    the end of a data loader's worker, which raises a ``RuntimeError`` wherever
    the main thread is; that would take the place of what ends the process.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _give_up(interrupted: Interrupted) -> None:
    print(f'\n{interrupted}', file=sys.stderr, flush=True)
    os._exit(interrupted.exit_code)


def interrupt_main_thread() -> None:
    """Interrupts what the main thread does, as Ctrl-C would."""
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
