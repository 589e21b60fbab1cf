"""Toy searches in processes of their own, which can be killed.

They are forked from a server that has imported everything, so that a search
starts within milliseconds.
"""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from unittest import mock

from detnas_mm.models import find_supernet
from detnas_mm.search import Evolution
from detnas_mm.structures import RECORD

from .digits_runs import use_one_thread
from .jobs import environment, free_port, server_context
from .models import ToyClassifier
from .toy_search import ToyMetric, toy_runner

__all__ = ['RECORD', 'free_port', 'search', 'search_as_rank', 'start']

# Files of a work dir: a path for each evaluation that began, or ended.
BEGUN = 'begun.log'
ENDED = 'ended.log'
# What went to stderr.
ERRORS = 'errors.log'


def start(target, *args, preload=(), **kwargs):
    """Starts a function of the kit in a process.

    ``preload`` names further modules that the server of processes imports, if
    it has not started yet.
    """
    context = server_context(*preload)
    process = context.Process(target=target, args=args, kwargs=kwargs)
    process.start()
    return process


def search(work_dir, *, death=None, delay=0.0, **settings):
    """Runs a toy search.

    Args:
        work_dir: Its work dir.
        death: Where the process kills itself: a name of ``DEATHS``, and how
            often that place is passed before.
        delay: Seconds added to each batch of a validation.
        settings: Settings of the search.
    """
    work_dir = Path(work_dir)
    work_dir.mkdir(exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    os.dup2(os.open(work_dir / ERRORS, flags), sys.stderr.fileno())
    use_one_thread()
    metric = NotedMetric(work_dir, delay)
    runner = toy_runner(work_dir, metric, **settings)
    metric.path = lambda: find_supernet(runner.model).path
    with dies(death):
        runner.val()


def search_as_rank(rank, world_size, port, work_dir, **settings):
    """Runs a toy search as one process of a launcher."""
    os.environ.update(environment(rank, world_size, port))
    search(work_dir, launcher='pytorch', **settings)


class NotedMetric(ToyMetric):
    """Notes which evaluations begin and end."""

    def __init__(self, work_dir, delay):
        super().__init__(wrap=self._end)
        self.work_dir = work_dir
        self.delay = delay
        self.path = None

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
    """Returns the paths of a log, in order."""
    file = Path(work_dir) / name
    return file.read_text().split() if file.exists() else []


@contextlib.contextmanager
def dies(death):
    """Makes the process kill itself at some place."""
    if death is None:
        yield
        return
    name, passes = death
    owner, attribute, applies = DEATHS[name]
    left = iter(range(passes))
    real = getattr(owner, attribute)

    def fatal(*args, **kwargs):
        if applies(*args, **kwargs) and next(left, None) is None:
            if attribute == 'write':
                # In the middle of a line.
                handle, line = args
                real(handle, line[: len(line) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
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


# Where a search may die, and how often the toy search of 12 passes there.
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
