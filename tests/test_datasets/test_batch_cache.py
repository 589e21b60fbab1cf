"""Batches that are read once: the same as the loader's in each pass."""

import os
import signal

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from detnas_mm.datasets.batch_cache import CachedLoader, MemoryBudget

IMAGE_BYTES = 3 * 4 * 5


class Annotation:
    """A data sample, into which models write."""

    def __init__(self, box):
        self.box = box


class Images(Dataset):
    """Counts its reads."""

    def __init__(self, size=5):
        self.size = size
        self.reads = 0

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        self.reads += 1
        return dict(
            inputs=torch.full((3, 4, 5), index, dtype=torch.uint8),
            data_samples=Annotation(torch.tensor([float(index)])),
        )


def collate(samples):
    return dict(
        inputs=[sample['inputs'] for sample in samples],
        data_samples=[sample['data_samples'] for sample in samples],
    )


def loader(size=5, **settings):
    return DataLoader(
        Images(size), batch_size=2, collate_fn=collate, **settings
    )


def contents(batches):
    return [
        (
            [image.tolist() for image in batch['inputs']],
            [sample.box.tolist() for sample in batch['data_samples']],
        )
        for batch in batches
    ]


def cached(num_bytes=10_000, **settings):
    return CachedLoader(loader(**settings), MemoryBudget(num_bytes))


@pytest.mark.parametrize('num_bytes', [10_000, 5 * IMAGE_BYTES])
def test_images_are_read_once(num_bytes):
    batches = cached(num_bytes)
    for _ in range(3):
        assert contents(batches) == contents(loader())
    assert batches.dataset.reads == 5
    assert batches.is_cached
    assert batches.num_bytes == 5 * IMAGE_BYTES
    assert len(batches) == 3


@pytest.mark.parametrize('num_bytes', [0, 5 * IMAGE_BYTES - 1])
def test_images_that_exceed_the_memory_are_read_in_each_pass(num_bytes):
    batches = cached(num_bytes)
    for _ in range(2):
        assert contents(batches) == contents(loader())
    assert batches.dataset.reads == 10
    assert not batches.is_cached
    assert batches.num_bytes == 0
    # The memory is free for other loaders.
    assert batches.budget.free == num_bytes


def test_loaders_share_the_memory():
    budget = MemoryBudget(8 * IMAGE_BYTES)
    loaders = [CachedLoader(loader(size), budget) for size in (5, 5, 3)]
    for batches in loaders:
        list(batches)
    assert [batches.is_cached for batches in loaders] == [True, False, True]
    assert budget.free == 0
    with pytest.raises(ValueError, match='at least 0 bytes, got -1'):
        MemoryBudget(-1)


def test_a_pass_that_stops_early_is_not_taken_for_all():
    batches = cached()
    next(iter(batches))
    assert not batches.is_cached
    assert contents(batches) == contents(loader())
    assert batches.budget.free == 10_000 - 5 * IMAGE_BYTES


def test_changes_by_a_model_are_gone_in_the_next_pass():
    batches = cached()
    for _ in range(3):
        for batch in batches:
            for sample in batch['data_samples']:
                sample.box += 1
                sample.box = None
            batch['inputs'].clear()
    assert contents(batches) == contents(loader())
    assert batches.dataset.reads == 5
    # Only the annotations are copied.
    first, second = next(iter(batches)), next(iter(batches))
    assert first['inputs'][0] is second['inputs'][0]
    assert first['data_samples'][0].box is not second['data_samples'][0].box


def test_images_that_a_model_changes_are_read_again():
    batches = cached()
    for _ in range(2):
        for batch in batches:
            batch['inputs'][0].add_(1)
    for _ in range(2):
        assert contents(batches) == contents(loader())
    assert not batches.is_cached


def test_cached_images_are_not_in_shared_memory():
    """Shared memory takes a file handle for each image."""
    batches = cached(num_workers=1)
    assert all(batch['inputs'][0].is_shared() for batch in batches)
    assert not any(batch['inputs'][0].is_shared() for batch in batches)


class Deadly(Images):
    """Kills the process that reads it, unless a file exists."""

    def __init__(self, file):
        super().__init__()
        self.file = file

    def __getitem__(self, index):
        if index == 3 and not self.file.exists():
            self.file.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


def test_a_dead_worker_is_replaced(tmp_path):
    """After out of memory, for example, the next pass has a worker again."""
    deadly = DataLoader(
        Deadly(tmp_path / 'killed'),
        batch_size=2,
        collate_fn=collate,
        num_workers=1,
        persistent_workers=True,
        multiprocessing_context='fork',
    )
    batches = CachedLoader(deadly, MemoryBudget(0))
    with pytest.raises(RuntimeError, match='worker'):
        list(batches)
    for _ in range(2):
        assert contents(batches) == contents(loader())
