"""Calibration images do not depend on how they are read."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from detnas_mm.compat import setup_compat

setup_compat()
from detnas_mm.datasets.calibration import (  # noqa: E402
    FixedSubset,
    build_calibration_loader,
)


class RandomImages(Dataset):
    """Samples that depend on all three global random states."""

    def __len__(self):
        return 20

    def __getitem__(self, index):
        return torch.tensor(
            [index, random.random(), np.random.rand(), torch.rand(()).item()],
            dtype=torch.double,
        )


def loader_config(**settings):
    defaults = dict(
        dataset=dict(type=RandomImages),
        batch_size=4,
        num_workers=0,
        sampler=dict(type='InfiniteSampler', shuffle=True),
        collate_fn=dict(type='default_collate'),
        drop_last=True,
    )
    return defaults | settings


def samples(num_images=10, seed=0, **settings):
    loader = build_calibration_loader(
        loader_config(**settings), num_images, seed
    )
    return torch.cat(list(loader))


def test_reads_each_image_once():
    """Also with an infinite sampler and a last batch that is dropped."""
    indices, noise = samples(10).T[:2].tolist()
    assert len(set(indices)) == len(indices) == 10
    assert len(set(noise)) == 10
    batches = build_calibration_loader(loader_config(), 10)
    assert [len(batch) for batch in batches] == [4, 4, 2]


def seed_all(seed):
    for set_seed in (random.seed, np.random.seed, torch.manual_seed):
        set_seed(seed)


def test_samples_are_independent_of_the_global_random_state():
    loader = build_calibration_loader(loader_config(), 10)
    first = torch.cat(list(loader))
    seed_all(1)
    assert torch.equal(torch.cat(list(loader)), first)
    assert torch.equal(samples(), first)


@pytest.mark.parametrize(
    'settings',
    [
        dict(num_workers=1),
        dict(num_workers=2, persistent_workers=True),
        dict(batch_size=1),
        dict(batch_size=20),
        dict(batch_sampler=dict(type='AspectRatioBatchSampler')),
        dict(num_batch_per_epoch=1),
    ],
)
def test_samples_are_independent_of_the_loader(settings):
    assert torch.equal(samples(**settings), samples())


def test_seed_chooses_images_and_their_transforms():
    assert not torch.equal(samples(seed=1), samples(seed=0))
    whole_sets = samples(20, seed=1), samples(20, seed=0)
    assert torch.equal(whole_sets[0][:, 0], whole_sets[1][:, 0])
    assert not torch.equal(*whole_sets)


def test_reading_leaves_the_random_state_alone():
    subset = FixedSubset(RandomImages(), [3, 5], seed=0)
    states = []
    for read in (lambda: None, lambda: subset[1]):
        seed_all(7)
        read()
        states.append((random.random(), np.random.rand(), torch.rand(())))
    assert states[0] == states[1]


def test_number_of_images_out_of_range():
    config = loader_config()
    for num_images in (-1, 0, 21):
        with pytest.raises(ValueError, match='`num_images`.*1 to the 20 im'):
            build_calibration_loader(config, num_images)
    assert config == loader_config()
