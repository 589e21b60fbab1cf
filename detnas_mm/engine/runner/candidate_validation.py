"""Validation of one candidate: MMEngine's ``ValLoop`` on its path."""

from collections.abc import Mapping

from mmengine.evaluator import Evaluator
from mmengine.runner import Runner, ValLoop
from torch.utils.data import DataLoader

from detnas_mm.datasets.batch_cache import KeptBatches, MemoryBudget
from detnas_mm.engine.hooks.bn_recalibration_hook import BNRecalibrationHook
from detnas_mm.engine.hooks.part_timer_hook import PartTimerHook
from detnas_mm.engine.runner.silence import silenced
from detnas_mm.evaluation import exact_metrics, float32_predictions
from detnas_mm.models import find_supernet
from detnas_mm.structures import ArchPath
from detnas_mm.utils.errors import InputError


class CandidateValidation:
    """Scores paths, each by a validation of its own.

    :class:`BNRecalibrationHook` recomputes the BN statistics before each
    validation and restores them afterwards, so that the score of a path
    depends on the path alone.

    Args:
        runner: The runner. Must have a ``BNRecalibrationHook``.
        dataloader: The data loader of the search split.
        evaluator: The evaluator.
        fp16: Whether to run the model under autocast.
        cache_gb: Memory for decoded images in GB. They are kept if they fit.

    Raises:
        InputError: If the runner has no ``BNRecalibrationHook``, or there are
            not enough calibration images.
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
        self.supernet = find_supernet(runner.model)
        budget = MemoryBudget(int(cache_gb * 1e9))
        find_recalibration(runner).prepare(runner, budget)
        self.val_loop.dataloader = KeptBatches(dataloader, budget)
        self.timer = PartTimerHook()
        runner.register_hook(self.timer)

    def score(self, path: ArchPath) -> Mapping[str, float]:
        """Validates a path and returns its metrics, unrounded."""
        metrics = self.val_loop.evaluator.metrics
        for metric in metrics:
            # A validation that failed leaves its predictions behind.
            metric.results.clear()
        with (
            exact_metrics(metrics),
            silenced(self.runner),
            float32_predictions(self.runner.model),
            self.supernet.activate(path),
        ):
            return self.val_loop.run()


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
