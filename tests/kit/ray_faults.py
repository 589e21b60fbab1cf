"""Evaluators for workers of Ray, whose processes die, hang or are wrong."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from detnas_mm.executors.base import PathEvaluator, WrongSearchError

from .spaces import FOUR_BLOCKS

PATHS = list(FOUR_BLOCKS.all_paths())[:6]


def score(path):
    """The second path fails."""
    if path == PATHS[1]:
        raise RuntimeError('broken')
    return {'score': sum(path) / 7}


def attempts(log):
    """Path and process of each evaluation that has begun."""
    lines = Path(log).read_text().splitlines() if Path(log).exists() else []
    return [tuple(map(int, line.split())) for line in lines]


@dataclass(frozen=True)
class FaultyBuild:
    """Builds an evaluator with a fault at one path.

    Attributes:
        log: File with a line for each evaluation that begins.
        fault: What happens before the path is evaluated.
        times: At how many evaluations of the path.
        index: Index of the path.
    """

    log: str
    fault: Callable[[], object]
    times: int = 1
    index: int = 3

    def __call__(self):
        return PathEvaluator(self._score, 'score')

    def _score(self, path):
        index = PATHS.index(path)
        with open(self.log, 'a') as file:
            file.write(f'{index} {os.getpid()}\n')
        tries = [i for i, _ in attempts(self.log)].count(index)
        metrics = None
        if index == self.index and tries <= self.times:
            metrics = self.fault()
        return metrics or score(path)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def lose_device():
    raise RuntimeError('CUDA error: an illegal memory access')


def give_other_metric():
    return {'accuracy': 1.0}


def end_child():
    """Ends a child process as pools do."""
    context = multiprocessing.get_context('fork')
    child = context.Process(target=time.sleep, args=(60,))
    child.start()
    child.terminate()
    child.join(30)
    return {'score': float(child.exitcode)}


def wait_for(file):
    while not Path(file).exists():
        time.sleep(0.05)


def build_fails():
    raise FileNotFoundError('no checkpoint at supernet.pth\nfar away')


def build_differs():
    raise WrongSearchError('gpu07: checkpoint_digest differs')


hang = partial(time.sleep, 600)
