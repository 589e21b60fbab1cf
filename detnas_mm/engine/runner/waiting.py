"""How long a search waits for its images."""

import logging
from collections.abc import Mapping, Sequence

from detnas_mm.datasets.batch_cache import KeptBatches
from detnas_mm.executors.stopwatch import READING

# From this share of the time on, reading is worth a word.
_MUCH = 0.2


class WaitingForImages:
    """Says once whether images are kept, and once if they hold a search up.

    Args:
        logger: The logger of the runner.
        batches: All images of a candidate.
    """

    def __init__(
        self, logger: logging.Logger, batches: Sequence[KeptBatches]
    ) -> None:
        self.logger = logger
        self.batches = batches
        self._candidates = 0
        self._was_said = False

    def report(self, seconds: Mapping[str, float]) -> None:
        """Takes the time by part of one pass over all images."""
        share = seconds.get(READING, 0) / (sum(seconds.values()) or 1)
        self._candidates += 1
        if self._candidates == 1:
            self._say_what_is_kept()
        elif share > _MUCH and not self._was_said:
            self._was_said = True
            self.logger.warning(
                f'{share:.0%} of the time goes into waiting for images. '
                f'{self._remedy()}'
            )

    def _say_what_is_kept(self) -> None:
        kept = [one for one in self.batches if one.are_kept]
        if kept:
            images = sum(len(one.dataset) for one in kept)
            size = sum(one.num_bytes for one in kept)
            self.logger.info(
                f'{images} decoded images are kept in memory, '
                f'{size / 1e9:.2f} GB'
            )

    def _remedy(self) -> str:
        needed = sum(one.needed_bytes for one in self.batches)
        if all(one.are_kept for one in self.batches):
            return 'They are in memory already: copying them is slow.'
        return (
            'Keep them in memory, with val_cfg.cache_gb='
            f'{needed / 1e9 + 0.1:.1f} for each process; or raise '
            'val_cfg.chunk, or num_workers of both data loaders'
        )
