"""Validation of one candidate: MMEngine's ``ValLoop`` on its path."""

import contextlib
import io
import logging
import threading
import time
from collections.abc import Iterator, Mapping

from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import Runner, ValLoop
from torch.utils.data import DataLoader

from detnas_mm.datasets.batch_cache import CachedLoader, MemoryBudget
from detnas_mm.engine.hooks.bn_recalibration_hook import BNRecalibrationHook
from detnas_mm.evaluation import float32_predictions, use_exact_metrics
from detnas_mm.models import find_supernet
from detnas_mm.structures import ArchPath
from detnas_mm.utils.errors import InputError


class CandidateValidation:
    """Scores paths, each by a validation of its own.

    :class:`BNRecalibrationHook` recomputes the BN statistics before each
    validation and restores them afterwards, so that the score of a path
    depends on the path alone.

    Decoded images are kept in a memory of ``cache_gb`` GB, if they fit.

    Raises:
        InputError: If the runner has no ``BNRecalibrationHook``, there are
            not enough calibration images, or the annotation file of a metric
            cannot be used.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader,
        evaluator: Evaluator | dict | list,
        *,
        fp16: bool = False,
        cache_gb: float = 0.0,
    ) -> None:
        self.runner = runner
        self.val_loop = ValLoop(runner, dataloader, evaluator, fp16)
        use_exact_metrics(self.val_loop.evaluator)
        self.supernet = find_supernet(runner.model)
        budget = MemoryBudget(int(cache_gb * 1e9))
        find_recalibration(runner).prepare(runner, budget)
        self.val_loop.dataloader = CachedLoader(dataloader, budget)
        self.timer = PartTimerHook()
        runner.register_hook(self.timer)

    def score(self, path: ArchPath) -> Mapping[str, float]:
        """Validates a path and returns its metrics.

        Raises:
            InputError: If an image cannot be read.
        """
        for metric in self.val_loop.evaluator.metrics:
            # A validation that failed leaves its predictions behind.
            metric.results.clear()
        converted = contextlib.nullcontext()
        if self.val_loop.fp16:
            converted = float32_predictions(self.runner.model)
        with (
            silenced(self.runner),
            converted,
            self.supernet.activate(path),
        ):
            return self.val_loop.run()


class PartTimerHook(Hook):
    """Divides the time of a validation into parts.

    ``calibration`` includes the reading of its images; ``reading`` is the
    time to read the search split. On a GPU the parts are right as long as
    each ends with a result that the CPU waits for, as these do.

    Attributes:
        seconds: Seconds of each part of the last validation.
    """

    priority = 'HIGHEST'

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = 0.0

    def before_val(self, runner: Runner) -> None:
        """Starts a new measurement."""
        self.seconds = {}
        self._last = time.perf_counter()

    def before_val_epoch(self, runner: Runner) -> None:
        """Ends the part ``calibration``."""
        self._lap('calibration')

    def before_val_iter(self, *args: object, **kwargs: object) -> None:
        """Ends the part ``reading``."""
        self._lap('reading')

    def after_val_iter(self, *args: object, **kwargs: object) -> None:
        """Ends the part ``inference``."""
        self._lap('inference')

    def after_val_epoch(self, *args: object, **kwargs: object) -> None:
        """Ends the part ``metric``."""
        self._lap('metric')

    def _lap(self, part: str) -> None:
        now = time.perf_counter()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._last
        self._last = now


@contextlib.contextmanager
def silenced(runner: Runner) -> Iterator[None]:
    """Keeps the output of a validation off the screen and the charts.

    To MMEngine's hooks all validations of a search belong to epoch 0; the
    search logs its own lines, possibly in another thread: only this thread
    is silenced.
    """
    thread = threading.get_ident()
    add_scalars = runner.visualizer.add_scalars

    def add_scalars_elsewhere(*args: object, **kwargs: object) -> None:
        if threading.get_ident() != thread:
            add_scalars(*args, **kwargs)

    def is_shown(record: logging.LogRecord) -> bool:
        return record.thread != thread or record.levelno >= logging.WARNING

    runner.logger.addFilter(is_shown)
    runner.visualizer.add_scalars = add_scalars_elsewhere
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        del runner.visualizer.add_scalars
        runner.logger.removeFilter(is_shown)


def find_recalibration(runner: Runner) -> BNRecalibrationHook:
    """Returns the hook that recomputes the BN statistics of a path.

    Raises:
        InputError: If there is none.
    """
    for hook in runner.hooks:
        if isinstance(hook, BNRecalibrationHook):
            return hook
    raise InputError(
        'a search needs BNRecalibrationHook: the running statistics of a '
        'supernet fit none of its paths; add '
        "dict(type='detnas_mm.BNRecalibrationHook') to `custom_hooks`"
    )
