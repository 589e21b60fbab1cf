"""Draws the path of each training iteration."""

from collections.abc import Mapping

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.nn.parallel import DistributedDataParallel

from detnas_mm.cost import MacBins
from detnas_mm.engine.hooks.gradient_averaging import average_taken_gradients
from detnas_mm.models import find_supernet
from detnas_mm.registry import HOOKS
from detnas_mm.structures import ArchPath, SearchSpace


@HOOKS.register_module()
class SinglePathSamplingHook(Hook):
    """Activates one random path in each training iteration (Section 3.2).

    The path is a function of the seed and the iteration alone: it is the
    same on all ranks, and after a resume. Processes that train together
    exchange the gradients of the path alone.

    Args:
        seed: Seed of the paths. Defaults to the seed of the run, which
            MMEngine makes equal on all ranks and stores in checkpoints.
        mac_bins: Settings of :class:`detnas_mm.cost.MacBins`, to draw paths
            whose MACs are spread evenly, as in the authors' ImageNet code.
            By default all paths have the same chance, as in the paper.
    """

    priority = 'NORMAL'

    def __init__(
        self, seed: int | None = None, mac_bins: Mapping | None = None
    ) -> None:
        self.seed = seed
        self.mac_bins = None if mac_bins is None else MacBins(**mac_bins)

    def draw(self, space: SearchSpace, seed: int, iteration: int) -> ArchPath:
        """Returns the path of an iteration."""
        rng = np.random.default_rng((seed, iteration))
        if self.mac_bins is None:
            return space.random_path(rng)
        return self.mac_bins.draw(space, rng)

    def before_train(self, runner: Runner) -> None:
        """Looks for the supernet, so that a wrong config fails at once."""
        self._supernet = find_supernet(runner.model)
        if isinstance(runner.model, DistributedDataParallel):
            average_taken_gradients(runner.model, self._supernet)

    def before_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
    ) -> None:
        """Activates the path of this iteration."""
        seed = runner.seed if self.seed is None else self.seed
        space = self._supernet.search_space
        self._supernet.set_path(self.draw(space, seed, runner.iter))
