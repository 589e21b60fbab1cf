"""Scores of paths without a model, for tests of executors."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from detnas_mm.executors.base import LocalEvaluator, Raced, one_by_one

from .spaces import FOUR_BLOCKS

PATHS = list(FOUR_BLOCKS.all_paths())[:20]
BROKEN = PATHS[7]
# The evaluator gives another metric for this one.
UNKNOWN = (3, 3, 3, 3)


def score(path, log=None):
    """Takes longer for some paths, so that they end out of order."""
    if log is not None:
        with open(log, 'a') as file:
            file.write(''.join(map(str, path)) + '\n')
    time.sleep(0.002 * (sum(path) % 3))
    if path == BROKEN:
        raise RuntimeError('broken')
    if path == UNKNOWN:
        return {'accuracy/top1': 1.0}
    return {'score': sum(path) / 7}


@dataclass(frozen=True)
class RacingScore:
    """Scores paths, and drops those that are below a bar at the start.

    Attributes:
        score: Scores a path.
    """

    score: Callable

    def __call__(self, paths, bars=()):
        outcomes = one_by_one(self.score)(paths)
        for images, least in bars:
            outcomes = [
                one
                if isinstance(one, Exception) or one['score'] >= least
                else Raced(((images, one['score']),), None)
                for one in outcomes
            ]
        return outcomes


def local_evaluator(log=None):
    """Evaluates in this process; notes each attempt in the log."""
    return LocalEvaluator(RacingScore(partial(score, log=log)), 'score')


def attempts(log):
    """The paths that were evaluated, sorted, one for each attempt."""
    lines = Path(log).read_text().split() if os.path.exists(log) else []
    return sorted(tuple(map(int, line)) for line in lines)


def facts(evaluations):
    """What does not depend on time."""
    return [(one.fitness, one.metrics, one.error) for one in evaluations]


@dataclass(frozen=True)
class Faulty:
    """Evaluates paths in a process that dies or hangs over one of them.

    Attributes:
        log: Where each attempt is noted.
        path: The path.
        fault: ``'die'`` or ``'hang'``.
        times: At how many attempts.
    """

    log: str
    path: tuple
    fault: str
    times: int

    def __call__(self):
        return LocalEvaluator(one_by_one(self.score), 'score')

    def score(self, path):
        result = score(path, self.log)
        if path == self.path and attempts(self.log).count(path) <= self.times:
            if self.fault == 'die':
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(600)
        return result


@dataclass(frozen=True)
class SickFirst:
    """Evaluates paths; the first process that is built fails each.

    Attributes:
        file: Made by that process.
    """

    file: str

    def __call__(self):
        try:
            with open(self.file, 'x'):
                return LocalEvaluator(one_by_one(fail), 'score')
        except FileExistsError:
            return local_evaluator()


def fail(path):
    """What a sick GPU does."""
    raise RuntimeError('CUDA error: an illegal memory access')


def cannot_be_built():
    """Where a worker has no checkpoint, say."""
    raise FileNotFoundError('no checkpoint at supernet.pth\nfar away')


@dataclass(frozen=True)
class Waiting:
    """Notes who evaluates, and does not end until there is a file.

    Attributes:
        log: Where the processes are noted.
        release: The file.
    """

    log: str
    release: str

    def __call__(self):
        return LocalEvaluator(one_by_one(self.score), 'score')

    def score(self, path):
        with open(self.log, 'a') as file:
            file.write(f'{os.getpid()}\n')
        while not os.path.exists(self.release):
            time.sleep(0.05)
        return score(path)
