"""Draws the path of each training iteration."""

from collections.abc import Mapping

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.nn.parallel import DistributedDataParallel

from detnas_mm.cost import MacBins
from detnas_mm.engine.hooks.gradient_averaging import average_taken_gradients
from detnas_mm.models import extreme_paths, find_supernet
from detnas_mm.registry import HOOKS
from detnas_mm.structures import ArchPath, SearchSpace, require_concentration
from detnas_mm.utils.errors import InputError


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
        concentration: Draws uneven paths, see
            :meth:`detnas_mm.SearchSpace.random_paths`.
        fair: Strict fairness (FairNAS, arXiv 1907.01845, Section 3.2): as
            many iterations as there are choices take each choice of each
            block once. Set ``optim_wrapper.accumulative_counts`` to the
            number of choices, so that one update follows them.
        sandwich: Sandwich rule (Universally Slimmable Networks, arXiv
            1903.05134, Section 3.2): of the paths of an update, the first has
            the most MACs and the last the fewest. Set
            ``optim_wrapper.accumulative_counts`` to 3 or more.
    """

    priority = 'NORMAL'

    def __init__(
        self,
        seed: int | None = None,
        mac_bins: Mapping | None = None,
        concentration: float | None = None,
        fair: bool = False,
        sandwich: bool = False,
    ) -> None:
        ways = (mac_bins is not None, concentration is not None, fair)
        if sum(ways) > 1 or (fair and sandwich):
            raise InputError(
                '`mac_bins`, `concentration` and `fair` exclude each other, '
                'and so do `fair` and `sandwich`; set one of them'
            )
        if concentration is not None:
            require_concentration(concentration)
        self.seed = seed
        self.mac_bins = None if mac_bins is None else MacBins(**mac_bins)
        self.concentration = concentration
        self.fair = fair
        self.sandwich = sandwich

    def draw(self, space: SearchSpace, seed: int, iteration: int) -> ArchPath:
        """Returns the random path of an iteration."""
        if self.fair:
            update, step = divmod(iteration, space.num_choices)
            rng = np.random.default_rng((seed, update))
            return space.fair_paths(rng)[step]
        rng = np.random.default_rng((seed, iteration))
        if self.mac_bins is None:
            return space.random_path(rng, self.concentration)
        return self.mac_bins.draw(space, rng)

    def before_train(self, runner: Runner) -> None:
        """Looks for the supernet, so that a wrong config fails at once."""
        self._supernet = find_supernet(runner.model)
        space = self._supernet.search_space
        counts = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        if self.fair and counts != space.num_choices:
            raise InputError(
                '`fair=True` needs `optim_wrapper.accumulative_counts` to be '
                f'the number of choices, {space.num_choices}, got {counts}'
            )
        if self.sandwich and counts < 3:
            raise InputError(
                '`sandwich=True` needs `optim_wrapper.accumulative_counts` of '
                f'3 or more, got {counts}'
            )
        self._extremes: dict[int, ArchPath] = {}
        if self.sandwich:
            smallest, largest = extreme_paths(space)
            self._extremes = {0: largest, counts - 1: smallest}
        self._counts = counts
        if isinstance(runner.model, DistributedDataParallel):
            average_taken_gradients(runner.model, self._supernet)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Activates the path of this iteration."""
        seed = runner.seed if self.seed is None else self.seed
        space = self._supernet.search_space
        path = self._extremes.get(runner.iter % self._counts)
        self._supernet.set_path(path or self.draw(space, seed, runner.iter))
