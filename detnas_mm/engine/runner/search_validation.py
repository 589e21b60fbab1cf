"""What scores the paths of a search, from the settings of its loop."""

from mmengine.device import get_device
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner, ValLoop
from torch.utils.data import DataLoader

from detnas_mm.engine.hooks.bn_recalibration_hook import BNRecalibrationHook
from detnas_mm.engine.runner.candidate_validation import CandidateValidation
from detnas_mm.engine.search_checks import empty_split, no_empty_split
from detnas_mm.evaluation.precision import require_precision
from detnas_mm.executors.race import Race


def build_validation(
    runner: Runner,
    dataloader: DataLoader,
    evaluator: Evaluator | dict | list,
    recalibration: BNRecalibrationHook,
    *,
    metric: str,
    race: Race | None,
    seed: int,
    fp16: bool | str,
    cache_gb: float,
) -> CandidateValidation:
    """Builds what scores the paths of a search.

    Args:
        runner: The runner of the search.
        dataloader: The data loader of the search split.
        evaluator: The evaluator.
        recalibration: Has the images for the BN statistics.
        metric: Key of the metric that is the fitness.
        race: Drops candidates before they have seen all images, which then
            come in an order of their own.
        seed: Seed of that order.
        fp16: Whether to run the detector under autocast, or in which type.
        cache_gb: Memory for decoded images, in GB.

    Raises:
        ValueError: If a data set is empty, or has too few images, or if there
            is no such precision.
    """
    require_precision(fp16, get_device())
    if not len(dataloader.dataset):
        raise empty_split('val_dataloader')
    with no_empty_split('train_dataloader'):
        recalibration.prepare(runner)
    return CandidateValidation(
        runner,
        ValLoop(runner, dataloader, evaluator, bool(fp16)),
        recalibration,
        cache_bytes=int(cache_gb * 1e9),
        metric=metric,
        fp16=fp16,
    )
