"""Recomputes BN statistics before a validation (Section 3.2, Step 3)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner, autocast
from torch import Tensor
from torch.utils.data import DataLoader

from detnas_mm.datasets.batch_cache import CachedLoader, MemoryBudget
from detnas_mm.datasets.calibration import build_calibration_loader
from detnas_mm.models import (
    recalibrate_bn,
    restore_bn_statistics,
    save_bn_statistics,
    unwrap_model,
)
from detnas_mm.registry import HOOKS
from detnas_mm.utils.errors import InputError


@HOOKS.register_module()
class BNRecalibrationHook(Hook):
    """Recomputes the BN statistics of the active path from training images.

    The images are the same for every validation, and so is the random state
    in which they are augmented and regions of interest are sampled: the
    statistics depend on the path and the weights alone. After the validation
    the previous statistics are restored.

    The training of one network may end with such statistics, too: a running
    average is that of a few batches, with weights that have changed since.

    Args:
        num_images: Number of training images. Defaults to 500, as in the
            paper. With 0 nothing is recomputed, for comparison: the running
            statistics of a supernet fit none of its paths.
        seed: Seed of the choice of images and of the random state.
        dataloader: Config of the data loader. Defaults to the
            ``train_dataloader`` of the config.
        at_end: Recomputes the statistics after the last iteration of a
            training instead, and keeps them: they are in its checkpoint.
    """

    # Before EMAHook, which copies the statistics.
    priority = 'ABOVE_NORMAL'

    def __init__(
        self,
        num_images: int = 500,
        seed: int = 0,
        dataloader: Mapping | None = None,
        at_end: bool = False,
    ) -> None:
        self.num_images = num_images
        self.seed = seed
        self.dataloader = dataloader
        self.at_end = at_end
        self.batches: DataLoader | CachedLoader | None = None
        self._saved: dict[str, Tensor] | None = None

    def prepare(
        self, runner: Runner, budget: MemoryBudget | None = None
    ) -> None:
        """Builds the data loader, if that was not done before.

        Args:
            runner: The runner.
            budget: Memory in which the images are kept, if they fit.

        Raises:
            InputError: If there are not enough training images.
        """
        if not self.num_images:
            return
        if self.batches is None:
            config = self.dataloader or runner.cfg.get('train_dataloader')
            if config is None:
                raise InputError(
                    'BNRecalibrationHook needs training images: the config '
                    'has no `train_dataloader`; add it, or give the hook a '
                    '`dataloader`'
                )
            self.batches = build_calibration_loader(
                config, self.num_images, self.seed
            )
        if budget is not None:
            self.batches = CachedLoader(self.batches, budget)

    def before_train(self, runner: Runner) -> None:
        """Checks before the long work that there are enough images."""
        if self.at_end or runner.val_loop is not None:
            self.prepare(runner)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Recomputes the statistics at the end of a training."""
        if self.at_end and self.is_last_train_iter(runner):
            self._recompute(runner)
            self._saved = None

    def before_val(self, runner: Runner) -> None:
        """Recomputes the statistics."""
        if not self.at_end:
            self._recompute(runner)

    def _recompute(self, runner: Runner) -> None:
        if not self.num_images:
            return
        model = unwrap_model(runner.model)
        self.prepare(runner)
        # As the validation that follows.
        fp16 = getattr(runner._val_loop, 'fp16', False)
        with _validated_weights(runner), autocast(enabled=bool(fp16)):
            if self._saved is not None:
                # The previous validation failed half-way.
                restore_bn_statistics(model, self._saved)
            self._saved = save_bn_statistics(model)
            recalibrate_bn(model, self.batches, (self.seed, self.num_images))

    def after_val(self, runner: Runner) -> None:
        """Restores the statistics from before the validation."""
        if self._saved is None:
            return
        with _validated_weights(runner):
            restore_bn_statistics(unwrap_model(runner.model), self._saved)
        self._saved = None


@contextmanager
def _validated_weights(runner: Runner) -> Iterator[None]:
    """Gives the model the weights that a validation uses.

    MMEngine's ``EMAHook`` exchanges them only after ``before_val``.
    """
    hooks = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
    for hook in hooks:
        hook.before_val_epoch(runner)
    try:
        yield
    finally:
        for hook in reversed(hooks):
            hook.after_val_epoch(runner)
