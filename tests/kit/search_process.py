"""Toy searches in processes of their own, to be killed.

They are forked from a server that has imported everything, so that a search
starts within milliseconds.
"""

import contextlib
import multiprocessing
import os
import re
import signal
import socket
import sys
import time
from pathlib import Path
from unittest import mock

from detnas_mm.models import find_supernet
from detnas_mm.search import Evolution
from detnas_mm.utils.interrupts import Interrupted, stop_on_signals

from .digits_runs import use_one_thread
from .models import ToyClassifier
from .toy_search import ToyMetric, toy_runner

RECORD = 'search_record.jsonl'
# Of a work dir: a path for each evaluation that began, and that ended.
BEGUN = 'begun.log'
ENDED = 'ended.log'
# What went to stderr.
ERRORS = 'errors.log'
_SECONDS = re.compile(
    rb'"seconds": [^,}]+|"seconds_by_part": {[^}]*}|"crc32": "[^"]*"'
)


def start(target, *args, preload=(), **kwargs):
    """Starts a function of the kit in a process.

    Args:
        target: The function.
        args: Its arguments.
        preload: Further modules that the server of processes imports, if it
            is not there yet.
        kwargs: Further arguments of the function.
    """
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['kit.warm_up', *preload])
    process = context.Process(target=target, args=args, kwargs=kwargs)
    process.start()
    return process


def search(
    work_dir,
    *,
    death=None,
    delay=0.0,
    env=(),
    own_group=False,
    note_errors=False,
    **settings,
):
    """Runs a toy search, as the command does.

    Args:
        work_dir: Its work dir.
        death: Where the process kills itself: a name of ``DEATHS`` and how
            often that place is passed before.
        delay: Seconds that each batch of a validation takes longer.
        env: Variables of the environment.
        own_group: Whether the process leads a group, as in a terminal.
        note_errors: Whether what goes to stderr is kept in the work dir.
        settings: Settings of the loop.
    """
    os.environ.update(env)
    work_dir = Path(work_dir)
    if note_errors:
        work_dir.mkdir(exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        os.dup2(os.open(work_dir / ERRORS, flags), sys.stderr.fileno())
    if own_group:
        os.setpgid(0, 0)
    use_one_thread()
    runner = toy_runner(work_dir, NotedMetric(work_dir, delay), **settings)
    noted = NotedMetric.note_path_of(runner)
    try:
        with stop_on_signals(), noted, dies(death):
            runner.val()
    except Interrupted as interrupted:
        sys.exit(interrupted.exit_code)
    except Exception as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)


def search_as_rank(rank, world_size, port, work_dir, **settings):
    """Runs a toy search as one process of a job."""
    env = dict(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(world_size),
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
    )
    search(work_dir, env=env, launcher='pytorch', **settings)


def free_port():
    """A port that no process listens at."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


class NotedMetric(ToyMetric):
    """Notes which evaluations begin and end."""

    def __init__(self, work_dir, delay):
        super().__init__(wrap=self._end)
        self.work_dir = work_dir
        self.delay = delay
        self.path = lambda: None

    @classmethod
    @contextlib.contextmanager
    def note_path_of(cls, runner):
        """Says where the path is found."""
        for metric in runner._val_evaluator.metrics:
            metric.path = lambda: find_supernet(runner.model).path
        yield

    def process(self, data_batch, data_samples):
        if not self.results:
            self._note(BEGUN)
        time.sleep(self.delay)
        super().process(data_batch, data_samples)

    def _end(self, metrics):
        self._note(ENDED)
        return metrics

    def _note(self, name):
        path = ''.join(map(str, self.path()))
        with open(self.work_dir / name, 'a') as file:
            file.write(path + '\n')


def noted(work_dir, name):
    """The paths of a log, in order."""
    file = Path(work_dir) / name
    return file.read_text().split() if file.exists() else []


def without_times(record):
    """Its bytes, but for durations and the checksums that hold them."""
    return _SECONDS.sub(b'', Path(record).read_bytes())


def die():
    os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def dies(death):
    """Lets the process kill itself at some place."""
    if death is None:
        yield
        return
    name, passes = death
    owner, attribute, also = DEATHS[name]
    left = iter(range(passes))
    real = getattr(owner, attribute)

    def fatal(*args, **kwargs):
        if also(*args, **kwargs) and next(left, None) is None:
            if owner is os and attribute == 'write':
                # In the middle of a line.
                handle, line = args
                real(handle, line[: len(line) // 2])
            die()
        return real(*args, **kwargs)

    with mock.patch.object(owner, attribute, fatal):
        yield


def _is_line(handle, data):
    return bytes(data).startswith(b'{"')


def _always(*args, **kwargs):
    return True


def _is_calibration(model, inputs, labels=None, mode='tensor'):
    return mode == 'loss'


def _is_validation(model, inputs, labels=None, mode='tensor'):
    return mode != 'loss'


# Where a search may die, with the number of passes in the toy search of 12.
DEATHS = {
    'write': (os, 'write', _is_line),
    'flush': (os, 'fsync', _always),
    'replace': (os, 'replace', _always),
    'calibration': (ToyClassifier, 'forward', _is_calibration),
    'validation': (ToyClassifier, 'forward', _is_validation),
    'generation': (Evolution, 'propose', _always),
}
PASSES = dict(
    write=13,
    flush=20,
    replace=8,
    calibration=24,
    validation=24,
    generation=3,
)
