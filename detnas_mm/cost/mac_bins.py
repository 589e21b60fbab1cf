"""Sampling of paths with uniform MACs, as in the authors' ImageNet code."""

from dataclasses import dataclass

import numpy as np

from detnas_mm.cost.macs import cost_table
from detnas_mm.structures import ArchPath, SearchSpace
from detnas_mm.utils.errors import InputError

# The authors' bins include the head: a 1x1 convolution from 640 to 1024
# channels at 7x7, and the classifier of 1000 classes.
IMAGENET_HEAD_MACS = 640 * 1024 * 7 * 7 + 1024 * 1000


@dataclass(frozen=True, kw_only=True)
class MacBins:
    """Draws a bin of MACs first, then a path of that many MACs.

    The defaults are the authors' settings for the small space: seven bins of
    10M from 290M to 360M, with the classification head counted.

    Attributes:
        low: Lower end of the first bin, in MACs.
        width: Width of a bin, in MACs.
        num_bins: Number of bins.
        head_macs: MACs that are added to the MACs of the backbone.
        input_size: Height and width at which the backbone is counted.
        max_draws: Draws after which a uniform path is returned instead,
            because the rarest bins are almost empty.
    """

    low: float = 290e6
    width: float = 10e6
    num_bins: int = 7
    head_macs: int = IMAGENET_HEAD_MACS
    input_size: tuple[int, int] = (224, 224)
    max_draws: int = 500

    def __post_init__(self) -> None:
        if self.width <= 0 or self.num_bins < 1 or self.max_draws < 1:
            raise InputError(
                '`width`, `num_bins` and `max_draws` must be positive, got '
                f'{self.width}, {self.num_bins} and {self.max_draws}'
            )

    def draw(self, space: SearchSpace, rng: np.random.Generator) -> ArchPath:
        """Draw a path of a space."""
        table = cost_table(space, tuple(self.input_size))
        low = self.low + self.width * int(rng.integers(self.num_bins))
        for _ in range(self.max_draws):
            path = space.random_path(rng)
            macs = table.macs(path) + self.head_macs
            if low <= macs <= low + self.width:
                return path
        return space.random_path(rng)
