"""How long a search waits for its images."""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from detnas_mm.datasets.kept_batches import KeptBatches

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
        self._waited = 0.0
        self._candidates = 0
        self._was_said = False

    def timed(self, batches: Iterable[dict]) -> Iterator[dict]:
        """Yields batches and notes how long they were waited for."""
        start = time.perf_counter()
        for batch in batches:
            self._waited += time.perf_counter() - start
            yield batch
            start = time.perf_counter()

    @contextmanager
    def report(self) -> Iterator[None]:
        """Times what runs in the ``with`` block: one pass over all images."""
        self._waited, start = 0.0, time.perf_counter()
        yield
        share = self._waited / (time.perf_counter() - start)
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
