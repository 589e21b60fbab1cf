"""Paths that learn from the largest one."""

import pytest
import torch
from kit.models import ToyClassifier, searched
from kit.spaces import FOUR_BLOCKS
from kit.toy_training import training_runner
from mmengine.hooks import Hook

from detnas_mm.engine import InPlaceDistillationHook, SinglePathSamplingHook
from detnas_mm.models import extreme_paths, find_supernet
from detnas_mm.utils.errors import InputError

SMALLEST, LARGEST = extreme_paths(FOUR_BLOCKS)


class Fixed(Hook):
    """Notes the loss of the distillation, of one path if it is given."""

    def __init__(self, path):
        self.path = path
        self.losses = []
        self.untaken = []

    def before_train_iter(self, runner, *args, **kwargs):
        if self.path is not None:
            find_supernet(runner.model).set_path(self.path)

    def after_train_iter(self, runner, *args, outputs=None, **kwargs):
        self.losses.append(outputs['loss_distillation'].item())
        self.untaken += [
            param.grad
            for block in find_supernet(runner.model).inactive_blocks()
            for param in block.parameters()
        ]


def train(work_dir, path, iterations=40, **settings):
    watch = Fixed(path)
    runner = training_runner(
        work_dir,
        custom_hooks=[watch, InPlaceDistillationHook(**settings)],
        iterations=iterations,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
    )
    runner.train()
    return runner, watch


def test_a_path_comes_nearer_to_the_largest(tmp_path):
    _, watch = train(tmp_path / 'with', SMALLEST)
    _, other = train(tmp_path / 'without', SMALLEST, weight=1e-3)
    assert 0 < sum(watch.losses[-5:]) < 0.9 * sum(watch.losses[:5])
    assert sum(watch.losses[-5:]) < 0.9e3 * sum(other.losses[-5:])
    # The largest one only teaches.
    assert all(gradient is None for gradient in watch.untaken)


def test_the_largest_path_has_nothing_to_learn(tmp_path):
    _, watch = train(tmp_path, LARGEST, iterations=2)
    assert watch.losses == [0, 0]


def test_losses_are_as_before_after_the_training(tmp_path):
    runner, _ = train(tmp_path, SMALLEST, iterations=1)
    net = find_supernet(runner.model)
    assert net.path == SMALLEST
    losses = runner.model(
        torch.randn(2, 3, 16, 16), torch.tensor([0, 1]), mode='loss'
    )
    assert list(losses) == ['loss']


def test_a_network_without_choices_is_refused(tmp_path):
    with pytest.raises(InputError, match='one DetNASSupernet'):
        training_runner(
            tmp_path,
            model=ToyClassifier(searched(FOUR_BLOCKS, '0123')),
            custom_hooks=[InPlaceDistillationHook()],
        ).train()


def test_together_with_the_sandwich_rule(tmp_path):
    """The first path of each update is the largest one."""
    watch = Fixed(None)
    training_runner(
        tmp_path,
        custom_hooks=[
            SinglePathSamplingHook(sandwich=True),
            InPlaceDistillationHook(),
            watch,
        ],
        optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=0.01), accumulative_counts=3
        ),
    ).train()
    is_zero = [loss == 0 for loss in watch.losses]
    assert is_zero == [True, False, False] * 2
