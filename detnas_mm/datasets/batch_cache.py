"""Batches that are read, decoded and collated once, then kept in memory."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from detnas_mm.datasets.checks import require_readable
from detnas_mm.utils.errors import InputError


class MemoryBudget:
    """Memory of ``num_bytes`` that several data loaders share."""

    def __init__(self, num_bytes: int) -> None:
        if num_bytes < 0:
            raise InputError(
                'the memory for images must be at least 0 bytes, got '
                f'{num_bytes}'
            )
        self.free = num_bytes

    def take(self, num_bytes: int) -> bool:
        """Take some memory; return False if there is not enough."""
        if num_bytes > self.free:
            return False
        self.free -= num_bytes
        return True


class CachedLoader:
    """Data loader whose batches are kept when they are first read.

    Images stay as the loader yields them: 8-bit integers with the pipelines
    of mmdet and mmpretrain. Either all batches are kept or, if they exceed
    the budget, none: the workers of a loader read all images or none.

    Models write into their batches, so each pass yields copies. The copies
    share their images. If a model changes an image in place, the cache is
    disabled before the next pass.

    Use it only for loaders that yield the same batches in each pass. An image
    that cannot be read is named by an ``InputError``.

    Attributes:
        is_cached: Whether all batches are in memory.
        num_bytes: Memory of the images that are kept.
    """

    def __init__(self, loader: DataLoader, budget: MemoryBudget) -> None:
        self.loader = loader
        self.budget = budget
        self.dataset = loader.dataset
        self.num_bytes = 0
        self._is_enabled = budget.free > 0
        self.is_cached = False
        self._batches: list[Any] = []
        # Versions of the image tensors, which torch raises at each change.
        self._versions: list[int] = []

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        if self.is_cached and self._versions != _versions(self._batches):
            self._disable()
        if self.is_cached:
            return map(_copy_all_but_images, self._batches)
        return self._read()

    def _read(self) -> Iterator[Any]:
        """Yield the batches of the loader and keeps copies of them."""
        self._clear()
        for number, batch in enumerate(self._load(), 1):
            if self._is_enabled:
                self._keep(batch)
            # Incomplete if the reader stops early or the memory is full.
            self.is_cached = self._is_enabled and number == len(self)
            yield batch

    def _load(self) -> Iterator[Any]:
        try:
            yield from self.loader
        except Exception as error:
            # Persistent workers do not replace one that has died.
            self.loader._iterator = None
            require_readable([self.dataset], error)
            raise

    def _keep(self, batch: Any) -> None:
        num_bytes = sum(image.nbytes for image in _images(batch))
        if not self.budget.take(num_bytes):
            self._disable()
            return
        self.num_bytes += num_bytes
        # The batch may lie in memory that is shared with a worker process.
        batch = deepcopy(batch)
        self._batches.append(batch)
        self._versions += _versions([batch])

    def _clear(self) -> None:
        self.budget.free += self.num_bytes
        self.num_bytes = 0
        self._batches, self._versions = [], []
        self.is_cached = False

    def _disable(self) -> None:
        self._clear()
        self._is_enabled = False


def _copy_all_but_images(batch: Any) -> Any:
    return deepcopy(batch, {id(image): image for image in _images(batch)})


def _versions(batches: Sequence[Any]) -> list[int]:
    return [image._version for batch in batches for image in _images(batch)]


def _images(batch: Any) -> Iterator[Tensor]:
    """Yield the tensors of a batch, except those inside data samples."""
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, Mapping):
        for value in batch.values():
            yield from _images(value)
    elif isinstance(batch, Sequence) and not isinstance(batch, str):
        for value in batch:
            yield from _images(value)
