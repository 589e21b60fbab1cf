"""Scores of paths without a model, for tests of executors."""

import os
import signal
import time
from functools import partial
from pathlib import Path

from detnas_mm.executors.base import PathEvaluator

from .spaces import FOUR_BLOCKS

PATHS = list(FOUR_BLOCKS.all_paths())[:20]
BROKEN = PATHS[7]


def score(path, log=None):
    """Takes longer for some paths, so that they finish out of order."""
    if log is not None:
        with open(log, 'a') as file:
            file.write(''.join(map(str, path)) + '\n')
    time.sleep(0.002 * (sum(path) % 3))
    if path == BROKEN:
        raise RuntimeError('broken')
    return {'score': sum(path) / 7}


def path_evaluator(log=None):
    """Evaluates in this process; notes each attempt in the log."""
    return PathEvaluator(partial(score, log=log), 'score')


def attempts(log):
    """The paths that were evaluated, sorted, one for each attempt."""
    lines = Path(log).read_text().split() if Path(log).exists() else []
    return sorted(tuple(map(int, line)) for line in lines)


def facts(results):
    """What does not depend on time; a path that comes twice is an error."""
    found = {path: (r.fitness, r.metrics, r.error) for path, r in results}
    assert len(found) == len(results)
    return found


def expected(paths=PATHS):
    """The facts of the right results of some paths."""
    return facts([(path, path_evaluator()(path)) for path in paths])


def faulty(score):
    """Builds an evaluator with another score, in a process."""
    return partial(PathEvaluator, score, 'score')


def die(path):
    os.kill(os.getpid(), signal.SIGKILL)


def lose_device(path):
    raise RuntimeError('CUDA error: an illegal memory access')


def give_other_metric(path):
    return {'accuracy/top1': 1.0}
