"""Evaluators for workers of Ray, whose processes die, hang or are wrong."""

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from detnas_mm.executors.base import PathEvaluator, WrongSearchError

from . import scoring
from .spaces import FOUR_BLOCKS

PATHS = list(FOUR_BLOCKS.all_paths())[:6]


def score(path):
    """The second path fails."""
    if path == PATHS[1]:
        raise RuntimeError('broken')
    return {'score': sum(path) / 7}


def attempts(log):
    """How many evaluations have begun, by the index of the path."""
    text = Path(log).read_text() if Path(log).exists() else ''
    return Counter(map(int, text.split()))


@dataclass(frozen=True)
class FaultyBuild:
    """Builds an evaluator with faults.

    Attributes:
        log: File with a line for each evaluation that begins.
        faults: What happens before a path is evaluated, by its index.
        times: At how many evaluations of the path.
    """

    log: str
    faults: Mapping[int, Callable[[], object]]
    times: int = 1

    def __call__(self):
        return PathEvaluator(self._score, 'score')

    def _score(self, path):
        index = PATHS.index(path)
        with open(self.log, 'a') as file:
            file.write(f'{index}\n')
        metrics = None
        if attempts(self.log)[index] <= self.times:
            metrics = self.faults.get(index, dict)()
        return metrics or score(path)


die = partial(scoring.die, None)
lose_device = partial(scoring.lose_device, None)
give_other_metric = partial(scoring.give_other_metric, None)


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
