"""Fixed training images on which BN statistics are recomputed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset, SequentialSampler

from detnas_mm.utils.errors import InputError
from detnas_mm.utils.random_state import fixed_random_state


@dataclass(eq=False, repr=False)
class FixedSubset(Dataset):
    """Subset of a data set that is the same each time it is read.

    Each sample passes the pipeline with its own random state. The result of
    a random transform depends on the seed and the sample alone: not on the
    worker that reads it, nor on the samples read before.
    """

    dataset: Dataset
    indices: Sequence[int]
    seed: int

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> dict:
        with fixed_random_state((self.seed, self.indices[index])):
            return self.dataset[self.indices[index]]


def build_calibration_loader(
    train_dataloader: Mapping, num_images: int, seed: int = 0
) -> DataLoader:
    """Build a loader of fixed images of the training set.

    Args:
        train_dataloader: Config of the training data loader, which gives the
            data set, the batch size and the workers.
        num_images: Number of images.
        seed: Seed of the choice of images and of their random transforms.
    """
    loader = dict(train_dataloader)
    dataset = DATASETS.build(loader['dataset'])
    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    if not 1 <= num_images <= len(dataset):
        raise InputError(
            '`num_images` of BNRecalibrationHook in `custom_hooks` must be 1 '
            f'to the {len(dataset)} images that the training set has after '
            f'its filter (such as of images without boxes); got {num_images}'
        )
    rng = np.random.default_rng((seed, num_images))
    chosen = rng.choice(len(dataset), size=num_images, replace=False)
    subset = FixedSubset(dataset, sorted(chosen.tolist()), seed)
    loader.update(
        dataset=subset,
        # Every rank reads all images: the statistics must be equal.
        sampler=SequentialSampler(subset),
        drop_last=False,
    )
    # These group or drop images for training; here each must be read once.
    loader.pop('batch_sampler', None)
    loader.pop('num_batch_per_epoch', None)
    return Runner.build_dataloader(loader, seed=seed)
