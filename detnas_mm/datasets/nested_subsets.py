"""Growing subsets of a data set, each within the next."""

from collections.abc import Sequence

import numpy as np
from torch.utils.data import DataLoader

from detnas_mm.utils.errors import InputError


def shuffle_batches(loader: DataLoader, seed: int) -> DataLoader:
    """Gives the batches of a loader in another order, always the same one.

    Data sets are often sorted, by class or by source: their first images
    stand for nothing but themselves. The batches stay as they are, so that
    what a model says about an image does not change.

    Args:
        loader: A loader that gives the same batches each time.
        seed: Seed of the order.
    """
    batches = list(loader.batch_sampler)
    rng = np.random.default_rng((seed, len(batches)))
    order = [batches[index] for index in rng.permutation(len(batches))]
    return _with_batches(loader, order)


def first_batches(loader: DataLoader, number: int) -> DataLoader:
    """Leaves only the first batches of a loader.

    Args:
        loader: A loader that gives the same batches each time.
        number: How many batches.
    """
    return _with_batches(loader, list(loader.batch_sampler)[:number])


def _with_batches(
    loader: DataLoader, batches: Sequence[Sequence[int]]
) -> DataLoader:
    return DataLoader(
        loader.dataset,
        batch_sampler=batches,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        prefetch_factor=loader.prefetch_factor,
        persistent_workers=loader.persistent_workers,
    )


def nested_subsets(
    loader: DataLoader, parts: Sequence[float]
) -> dict[int, int]:
    """Returns how many batches and images make up growing parts.

    Args:
        loader: The loader; a part begins with its first batch.
        parts: The parts of the images, each between 0 and 1.

    Returns:
        For the number of batches of each part, that of its images: the fewest
        whole batches that have as many.

    Raises:
        InputError: If the batches are too few for that many parts.
    """
    sizes = [len(batch) for batch in loader.batch_sampler]
    images = np.cumsum(sizes)
    numbers = np.searchsorted(images, np.array(parts) * images[-1] - 1e-9) + 1
    counts = {int(n): int(images[n - 1]) for n in numbers}
    if len(counts) < len(parts) or max(counts) == len(sizes):
        raise InputError(
            f'the {images[-1]} images of `val_dataloader` come in '
            f'{len(sizes)} batches, which have no parts of '
            f'{", ".join(f"{part:g}" for part in parts)}: use a smaller '
            '`batch_size`, or fewer `parts` of the race'
        )
    return counts
