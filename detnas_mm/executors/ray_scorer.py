"""What runs in the process of a worker of Ray."""

import socket
from collections.abc import Callable, Sequence
from dataclasses import asdict

from detnas_mm.executors.base import LocalEvaluator, UnknownMetricError
from detnas_mm.executors.errors import WrongSearchError, describe
from detnas_mm.structures import ArchPath, Rungs
from detnas_mm.utils.interrupts import let_sigterm_end_children

Build = Callable[[], LocalEvaluator]


class Scorer:
    """Evaluates paths; errors are values here."""

    def __init__(self) -> None:
        # mmdet's evaluation on VOC has a pool.
        let_sigterm_end_children()
        self._evaluator: LocalEvaluator | None = None

    def start(self) -> dict:
        """Says that the process is there, and where."""
        return {'host': socket.gethostname()}

    def build(self, build: Build) -> dict:
        """Builds the evaluator of this process: a second try is not its."""
        try:
            self._evaluator = build().with_one_try()
        except WrongSearchError as error:
            return {'wrong_search': str(error)}
        except Exception as error:
            return {'error': describe(error)}
        return {}

    def evaluate(self, paths: Sequence[ArchPath], bars: Rungs) -> dict:
        """Evaluates paths."""
        try:
            evaluations = list(self._evaluator.evaluate(paths, bars))
        except UnknownMetricError as error:
            return {'unknown_metric': str(error)}
        return {'evaluations': [asdict(one) for one in evaluations]}
