"""Batches that are read once: equal to those of the loader, each time."""

import os
import signal

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from detnas_mm.datasets.batch_cache import (
    KeptBatches,
    MemoryBudget,
    copy_batch,
)

IMAGE_BYTES = 3 * 4 * 5


class Annotation:
    """What a model may write into."""

    def __init__(self, box):
        self.box = box


class Images(Dataset):
    """Counts how often it is read."""

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
        inputs=[one['inputs'] for one in samples],
        data_samples=[one['data_samples'] for one in samples],
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


def kept(num_bytes=10_000, **settings):
    return KeptBatches(loader(**settings), MemoryBudget(num_bytes))


def test_images_are_read_once():
    batches = kept()
    expected = contents(loader())
    for _ in range(3):
        assert contents(batches) == expected
    assert batches.dataset.reads == 5
    assert batches.are_kept
    assert batches.num_bytes == batches.needed_bytes == 5 * IMAGE_BYTES
    assert len(batches) == 3


@pytest.mark.parametrize('num_bytes', [0, 5 * IMAGE_BYTES - 1])
def test_images_that_do_not_fit_are_read_each_time(num_bytes):
    batches = kept(num_bytes)
    expected = contents(loader())
    for _ in range(2):
        assert contents(batches) == expected
    assert batches.dataset.reads == 10
    assert not batches.are_kept
    assert batches.num_bytes == 0
    assert batches.needed_bytes == 5 * IMAGE_BYTES
    # Others may have it.
    assert batches.budget.free == num_bytes


def test_exactly_enough_memory_is_enough():
    batches = kept(5 * IMAGE_BYTES)
    list(batches)
    assert batches.are_kept


def test_loaders_share_the_memory():
    budget = MemoryBudget(8 * IMAGE_BYTES)
    batches = [KeptBatches(loader(size), budget) for size in (5, 5, 3)]
    for one in batches:
        list(one)
    assert [one.are_kept for one in batches] == [True, False, True]
    assert budget.free == 0


def test_what_was_read_half_way_is_not_taken_for_all():
    batches = kept()
    next(iter(batches))
    assert not batches.are_kept
    assert contents(batches) == contents(loader())
    assert batches.budget.free == 10_000 - 5 * IMAGE_BYTES


def test_what_a_model_writes_is_gone_the_next_time():
    batches = kept()
    expected = contents(loader())
    for _ in range(3):
        for batch in batches:
            for sample in batch['data_samples']:
                sample.box += 1
                sample.box = None
            batch['inputs'].clear()
    assert contents(batches) == expected
    assert batches.dataset.reads == 5


def test_images_that_a_model_changes_are_read_anew():
    batches = kept()
    expected = contents(loader())
    for _ in range(2):
        for batch in batches:
            batch['inputs'][0].add_(1)
    for _ in range(2):
        assert contents(batches) == expected
    assert not batches.are_kept


def test_images_of_workers_are_kept_in_memory_of_their_own():
    """Shared memory takes a file handle for each image."""
    batches = kept(num_workers=1)
    assert all(one['inputs'][0].is_shared() for one in batches)
    assert not any(one['inputs'][0].is_shared() for one in batches)


def test_a_copied_batch_shares_its_images_alone():
    batch = next(iter(loader()))
    copy = copy_batch(batch)
    assert contents([copy]) == contents([batch])
    assert copy['inputs'] is not batch['inputs']
    assert copy['inputs'][0] is batch['inputs'][0]
    assert copy['data_samples'][0].box is not batch['data_samples'][0].box


def test_memory_out_of_range():
    with pytest.raises(ValueError, match='at least 0 bytes, got -1'):
        MemoryBudget(-1)


class Deadly(Images):
    """Kills the process that reads it, until there is a file."""

    def __init__(self, file):
        super().__init__()
        self.file = file

    def __getitem__(self, index):
        if index == 3 and not self.file.exists():
            self.file.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


def test_a_worker_that_died_is_replaced(tmp_path):
    """Out of memory, say: what is read next has a worker again."""
    loader = DataLoader(
        Deadly(tmp_path / 'killed'),
        batch_size=2,
        collate_fn=collate,
        num_workers=1,
        persistent_workers=True,
        multiprocessing_context='fork',
    )
    batches = KeptBatches(loader, MemoryBudget(0))
    with pytest.raises(RuntimeError, match='worker'):
        list(batches)
    expected = contents(DataLoader(Images(), batch_size=2, collate_fn=collate))
    for _ in range(2):
        assert contents(batches) == expected
