"""Validation of several candidates on the same batches."""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from types import MappingProxyType
from unittest import mock

from mmengine.evaluator import Evaluator
from mmengine.runner import Runner, ValLoop, autocast

from detnas_mm.datasets.batch_cache import CachedLoader, MemoryBudget
from detnas_mm.engine.hooks.bn_recalibration_hook import BNRecalibrationHook
from detnas_mm.engine.runner.quiet import quiet
from detnas_mm.evaluation.faster_coco import faster_coco
from detnas_mm.evaluation.precision import autocast_type, float32_predictions
from detnas_mm.evaluation.unrounded import unrounded
from detnas_mm.executors.base import Outcome, Raced, judge
from detnas_mm.executors.so_far import evaluate_so_far
from detnas_mm.executors.stopwatch import (
    CALIBRATION,
    INFERENCE,
    METRIC,
    READING,
    Stopwatch,
)
from detnas_mm.models import (
    BNStatistics,
    find_supernet,
    preserved_bn_statistics,
)
from detnas_mm.models.unwrap import unwrap
from detnas_mm.structures import ArchPath, Rungs


class _Trial:
    """A path on its way through a validation."""

    def __init__(self, path: ArchPath, evaluator: Evaluator) -> None:
        self.path = path
        self.evaluator = evaluator
        self.statistics: BNStatistics | None = None
        self.outcome: Outcome | None = None
        self.rungs: Rungs = ()


class CandidateValidation:
    """Scores paths as MMEngine's ``ValLoop`` does, some at a time.

    The paths that are scored together take turns on each batch, which is
    read and collated once for all of them. Each has its own BN statistics
    and its own evaluator, so that its score is that of a validation on its
    own; if one fails, the others go on.

    Args:
        runner: The runner.
        val_loop: Validates a batch: mmdet's or mmpretrain's model, MMEngine's
            evaluator.
        recalibration: Has the images for the BN statistics. Its work is done
            here, so that it is taken out of the hooks of the runner.
        cache_bytes: Memory for decoded images, which are kept if they fit.
        rungs: Where a race looks at the scores: numbers of batches, each with
            the number of their images.
        metric: Key of the score that it looks at.
        fp16: Type of mixed precision, where the loop has it and the type is
            not to be that which MMEngine takes.

    Attributes:
        stopwatch: Has the time of the last scoring by part.

    Raises:
        ValueError: If there are not enough images for the BN statistics, or
            ``cache_bytes`` is negative.
    """

    def __init__(
        self,
        runner: Runner,
        val_loop: ValLoop,
        recalibration: BNRecalibrationHook,
        cache_bytes: int = 0,
        rungs: Mapping[int, int] = MappingProxyType({}),
        metric: str = '',
        fp16: bool | str = False,
    ) -> None:
        budget = MemoryBudget(cache_bytes)
        recalibration.prepare(runner, budget)
        val_loop.dataloader = CachedLoader(val_loop.dataloader, budget)
        if recalibration in runner.hooks:
            runner.hooks.remove(recalibration)
        self.runner = runner
        self.val_loop = val_loop
        self.recalibration = recalibration
        self.model = unwrap(runner.model)
        self.supernet = find_supernet(self.model)
        self.rungs = rungs
        self.metric = metric
        self.fp16 = fp16
        self.device_type = next(self.model.parameters()).device.type
        self._evaluators = [val_loop.evaluator]
        self._written: BNStatistics | None = None
        self.stopwatch = Stopwatch()

    def score(
        self, paths: Sequence[ArchPath], bars: Rungs = ()
    ) -> list[Outcome]:
        """Validates paths.

        Args:
            paths: The paths.
            bars: Numbers of images, each with the score below which a path
                is dropped.

        Returns:
            For each path the metrics of its evaluator, unrounded, or the
            exception that ended its validation; in a race with what it
            scored on the way.
        """
        trials = self._trials(paths)
        self.stopwatch.start()
        self._run(trials, dict(bars))
        return [trial.outcome for trial in trials]

    def _run(
        self, trials: Sequence[_Trial], bars: Mapping[int, float]
    ) -> None:
        metrics = self.val_loop.evaluator.metrics
        with (
            unrounded(metrics),
            faster_coco(metrics),
            quiet(self.runner),
            autocast_type(self.fp16, self.device_type),
            float32_predictions(self.model),
            self._preserved_statistics(trials),
        ):
            try:
                self._recalibrate(trials)
                self._validate(trials, bars)
            except Exception as error:
                # Of the data or a hook: nobody's own.
                for trial in _alive(trials):
                    trial.outcome = error

    def _trials(self, paths: Sequence[ArchPath]) -> list[_Trial]:
        while len(self._evaluators) < len(paths):
            self._evaluators.append(_copy_evaluator(self._evaluators[0]))
        for evaluator in self._evaluators:
            for metric in evaluator.metrics:
                # A validation that broke off leaves its results behind.
                metric.results.clear()
        return [
            _Trial(path, evaluator)
            for path, evaluator in zip(paths, self._evaluators, strict=False)
        ]

    def _recalibrate(self, trials: Sequence[_Trial]) -> None:
        batches = self.recalibration.batches
        if batches is None:
            return
        running = {}
        for trial in trials:
            with self._turn(trial):
                running[trial] = self.recalibration.start(self.model)
        self.stopwatch.lap(CALIBRATION)
        for batch in batches:
            self.stopwatch.lap(READING)
            for trial, own in self._deal(batch, trials):
                with self._turn(trial), autocast(enabled=self.val_loop.fp16):
                    running[trial].add([own])
            self.stopwatch.lap(CALIBRATION)
        for trial in _alive(trials):
            with self._turn(trial):
                trial.statistics = running[trial].statistics()
        self.stopwatch.lap(CALIBRATION)

    def _validate(
        self, trials: Sequence[_Trial], bars: Mapping[int, float]
    ) -> None:
        loop, runner = self.val_loop, self.runner
        runner.call_hook('before_val')
        runner.call_hook('before_val_epoch')
        runner.model.eval()
        loop.val_loss.clear()
        self.stopwatch.lap(INFERENCE)
        for index, batch in enumerate(loop.dataloader):
            self.stopwatch.lap(READING)
            for trial, own in self._deal(batch, trials):
                with self._turn(trial), _evaluator(loop, trial.evaluator):
                    loop.run_iter(index, own)
            self.stopwatch.lap(INFERENCE)
            if index + 1 in self.rungs:
                self._race(trials, self.rungs[index + 1], bars)
                self.stopwatch.lap(METRIC)
                if not _alive(trials):
                    break
        num_images = len(loop.dataloader.dataset)
        last = None
        for trial in _alive(trials):
            with self._turn(trial):
                last = trial.evaluator.evaluate(num_images)
                trial.outcome = last
                if self.rungs:
                    trial.outcome = Raced(trial.rungs, last)
        self.stopwatch.lap(METRIC)
        if last is not None:
            runner.call_hook('after_val_epoch', metrics=last)
            runner.call_hook('after_val')

    def _race(
        self,
        trials: Sequence[_Trial],
        num_images: int,
        bars: Mapping[int, float],
    ) -> None:
        """Drops paths whose score on the first images is too low."""
        for trial in _alive(trials):
            with self._turn(trial):
                metrics = evaluate_so_far(trial.evaluator, num_images)
                if self.metric not in metrics:
                    # Nothing was predicted so far, say.
                    continue
                score = judge(metrics, self.metric).fitness
                if score is None:
                    continue
                trial.rungs += ((num_images, score),)
                if score < bars.get(num_images, -math.inf):
                    trial.outcome = Raced(trial.rungs, None)

    @contextlib.contextmanager
    def _turn(self, trial: _Trial) -> Iterator[None]:
        """Makes a path the active one, with its BN statistics.

        Should it fail, that is its outcome.
        """
        with self.supernet.activate(trial.path):
            try:
                if trial.statistics is not self._written:
                    trial.statistics.write()
                    self._written = trial.statistics
                yield
            except Exception as error:
                trial.outcome = error

    @contextlib.contextmanager
    def _preserved_statistics(
        self, trials: Sequence[_Trial]
    ) -> Iterator[None]:
        with contextlib.ExitStack() as preserved:
            for trial in trials:
                with self.supernet.activate(trial.path):
                    preserved.enter_context(
                        preserved_bn_statistics(self.model)
                    )
            self._written = None
            yield

    @staticmethod
    def _deal(
        batch: dict, trials: Sequence[_Trial]
    ) -> Iterator[tuple[_Trial, dict]]:
        """Yields each path that goes on with a batch of its own."""
        alive = _alive(trials)
        for trial in alive:
            # Models write into what they are given.
            yield trial, batch if len(alive) == 1 else deepcopy(batch)


def _alive(trials: Sequence[_Trial]) -> list[_Trial]:
    return [trial for trial in trials if trial.outcome is None]


def _copy_evaluator(evaluator: Evaluator) -> Evaluator:
    """Copies an evaluator, but not the ground truth that it has read."""
    shared = [getattr(one, '_coco_api', None) for one in evaluator.metrics]
    return deepcopy(evaluator, {id(one): one for one in shared if one})


@contextlib.contextmanager
def _evaluator(loop: ValLoop, evaluator: Evaluator) -> Iterator[None]:
    """Lets a loop give its predictions to an evaluator."""
    with mock.patch.object(loop, 'evaluator', evaluator):
        yield
