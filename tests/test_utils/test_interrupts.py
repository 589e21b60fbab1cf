"""Signals that end a search."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from detnas_mm.utils.interrupts import (
    Interrupted,
    interrupt_main_thread,
    stop_on_signals,
)


def interruption(action):
    """What an action raises while signals are heeded."""
    with pytest.raises(Interrupted) as caught, stop_on_signals('a hint'):
        action()
    return caught.value


def run(program):
    """Runs code in a process of its own."""
    return subprocess.run(
        [sys.executable, '-c', program],
        capture_output=True,
        text=True,
        timeout=50,
    )


def wait():
    time.sleep(30)


@pytest.mark.parametrize(
    ('signum', 'code', 'name'),
    [(signal.SIGINT, 130, 'SIGINT'), (signal.SIGTERM, 143, 'SIGTERM')],
)
def test_a_signal_interrupts_what_runs(signum, code, name):
    before = [signal.getsignal(one) for one in (2, 15)]
    start = time.monotonic()
    threading.Timer(0.2, os.kill, [os.getpid(), signum]).start()
    interrupted = interruption(wait)
    assert time.monotonic() - start < 20
    assert str(interrupted) == f'stopped by {name}; a hint'
    assert interrupted.exit_code == code
    # No failure of a candidate: `except Exception` lets it through.
    assert not isinstance(interrupted, Exception)
    assert [signal.getsignal(one) for one in (2, 15)] == before


def test_schedulers_may_send_several():
    def stop_thrice():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)

    assert interruption(stop_thrice).exit_code == 143


def test_another_thread_may_interrupt():
    threading.Timer(0.2, interrupt_main_thread).start()
    assert 'SIGINT' in str(interruption(wait))


def test_what_swallows_the_exception_is_ended():
    program = """
import os, signal, time
from detnas_mm.utils.interrupts import stop_on_signals
with stop_on_signals('go on by --resume', grace=0.5):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except BaseException:
        print('swallowed', flush=True)
    time.sleep(60)
"""
    done = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, timeout=50
    )
    assert done.stdout == b'swallowed\n'
    assert done.stderr == b'\nstopped by SIGTERM; go on by --resume\n'
    assert done.returncode == 143


def test_a_wait_outside_python_is_ended():
    """No handler of Python's runs while a library waits for a machine."""
    program = """
import ctypes, os, signal, threading
from detnas_mm.utils.interrupts import stop_on_signals
libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
send = [os.getpid(), signal.SIGTERM]
with stop_on_signals('go on by --resume', grace=0.5):
    threading.Timer(0.5, os.kill, send).start()
    libc.pthread_mutex_lock(mutex)
    print('waits', flush=True)
    libc.pthread_mutex_lock(mutex)
"""
    done = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, timeout=50
    )
    assert done.stdout == b'waits\n'
    assert done.stderr == b'\nstopped by SIGTERM; go on by --resume\n'
    assert done.returncode == 143


def test_the_end_of_a_pool_is_that_of_its_workers_alone():
    """Pools send SIGTERM to workers that still wait for work."""
    program = """
import multiprocessing, time
from detnas_mm.utils.interrupts import stop_on_signals
with stop_on_signals('go on by --resume', grace=0.5):
    pool = multiprocessing.get_context('fork').Pool(4)
    print(pool.map(abs, [-1, -2]))
    pool.terminate()
    pool.join()
    time.sleep(2)
print('went on')
"""
    done = run(program)
    assert done.stdout == '[1, 2]\nwent on\n'
    assert done.stderr == ''
    assert done.returncode == 0


def test_a_forked_child_ends_by_the_signal_itself():
    """A handler of Python's would not run while it waits for a lock."""
    program = """
import os, signal, time
from detnas_mm.utils.interrupts import stop_on_signals
with stop_on_signals('go on by --resume', grace=0.5):
    child = os.fork()
    if child == 0:
        time.sleep(60)
    os.kill(child, signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    time.sleep(2)
"""
    done = run(program)
    assert done.stdout == '-15\n'
    assert done.stderr == ''
    assert done.returncode == 0


def test_sigterm_ends_children_of_a_process_with_a_handler():
    """Such as that of Ray, which its workers' children would inherit."""
    program = """
import os, signal, time
from detnas_mm.utils.interrupts import let_sigterm_end_children
signal.signal(signal.SIGTERM, lambda *_: print('handled', flush=True))
let_sigterm_end_children()
child = os.fork()
if child == 0:
    time.sleep(60)
os.kill(child, signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
os.kill(os.getpid(), signal.SIGTERM)
"""
    done = run(program)
    assert done.stdout == '-15\nhandled\n'
    assert done.returncode == 0


def test_without_a_signal_nothing_happens():
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
