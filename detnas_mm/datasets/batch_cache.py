"""Batches that are read, decoded and collated once, then kept in memory."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from detnas_mm.utils.errors import InputError


class MemoryBudget:
    """Memory that several data loaders share.

    Args:
        num_bytes: How much there is.

    Raises:
        InputError: If it is negative.
    """

    def __init__(self, num_bytes: int) -> None:
        if num_bytes < 0:
            raise InputError(
                'the memory for images must be at least 0 bytes, got '
                f'{num_bytes}'
            )
        self.free = num_bytes

    def take(self, num_bytes: int) -> bool:
        """Takes some memory; returns whether there was enough."""
        if num_bytes > self.free:
            return False
        self.free -= num_bytes
        return True


class KeptBatches:
    """A data loader whose batches are kept the first time they are read.

    Images stay as the loader gives them, with mmdet's and mmpretrain's
    pipelines as 8-bit integers. What fits into the memory is all batches or
    none: a part would not make the rest faster to read. Each time the batches
    are copies of those that were read, but for the images, which are shared:
    should a model ever change one in place, that is noticed, and the batches
    are read anew from then on.

    Only for loaders that give the same batches each time.

    Args:
        loader: The data loader.
        budget: The memory.

    Attributes:
        num_bytes: Memory of the images that are kept.
        needed_bytes: Estimate of the memory of all images; 0 until some have
            been read.
    """

    def __init__(self, loader: DataLoader, budget: MemoryBudget) -> None:
        self.loader = loader
        self.budget = budget
        self.dataset = loader.dataset
        self.num_bytes = self.needed_bytes = 0
        self._keeps = budget.free > 0
        self._batches: list[Any] = []
        self._versions: list[int] = []
        self._is_complete = False

    @property
    def are_kept(self) -> bool:
        """Whether all batches are in memory."""
        return self._is_complete

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        if self._is_complete and not self._are_unchanged():
            self._forget()
            self._keeps = False
        if self._is_complete:
            return map(copy_batch, self._batches)
        return self._read()

    def _read(self) -> Iterator[Any]:
        """Yields the batches of the loader and keeps them on the way."""
        self._forget()
        num_read = 0
        for number, batch in enumerate(self._load(), 1):
            num_bytes = sum(image.nbytes for image in _tensors(batch))
            num_read += num_bytes
            self.needed_bytes = num_read * len(self) // number
            if self._keeps:
                self._keep(batch, num_bytes)
            # Not so when the reader stops half-way, or the memory does.
            self._is_complete = self._keeps and number == len(self)
            yield batch

    def _load(self) -> Iterator[Any]:
        try:
            yield from self.loader
        except RuntimeError:
            # Persistent workers would go on without one that has died.
            self.loader._iterator = None
            raise

    def _keep(self, batch: Any, num_bytes: int) -> None:
        if not self.budget.take(num_bytes):
            self._forget()
            self._keeps = False
            return
        self.num_bytes += num_bytes
        # A worker's tensors lie in memory that it shares; these do not.
        batch = deepcopy(batch)
        self._batches.append(batch)
        self._versions += [image._version for image in _tensors(batch)]

    def _forget(self) -> None:
        self.budget.free += self.num_bytes
        self.num_bytes = 0
        self._batches, self._versions = [], []
        self._is_complete = False

    def _are_unchanged(self) -> bool:
        return self._versions == [
            image._version
            for batch in self._batches
            for image in _tensors(batch)
        ]


def copy_batch(batch: Any) -> Any:
    """Copies a batch, into which models write, but for its images.

    Args:
        batch: What a data loader gave.
    """
    return deepcopy(batch, {id(image): image for image in _tensors(batch)})


def _tensors(batch: Any) -> Iterator[Tensor]:
    """Yields the tensors in a batch, but for those of annotations."""
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, Mapping):
        for value in batch.values():
            yield from _tensors(value)
    elif isinstance(batch, Sequence) and not isinstance(batch, str):
        for value in batch:
            yield from _tensors(value)
