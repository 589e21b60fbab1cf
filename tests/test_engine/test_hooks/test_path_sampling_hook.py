"""The path of an iteration depends on seed and iteration alone."""

import numpy as np
import pytest
import torch
from kit.models import ToyClassifier, searched
from kit.spaces import FOUR_BLOCKS
from kit.toy_training import PathRecorder, training_runner
from mmengine.hooks import Hook

from detnas_mm.cost import backbone_macs
from detnas_mm.engine import SinglePathSamplingHook
from detnas_mm.utils.errors import InputError


class UpdateCounter(Hook):
    """Notes after which iterations the stem's weights were changed."""

    def before_train(self, runner):
        self.changed = []
        self._weight = runner.model.backbone.stem[0].weight.clone()

    def after_train_iter(self, runner, *args, **kwargs):
        weight = runner.model.backbone.stem[0].weight
        self.changed.append(not torch.equal(weight, self._weight))
        self._weight = weight.clone()


def train(work_dir, **settings):
    recorder = PathRecorder()
    runner = training_runner(work_dir, recorder, **settings)
    runner.train()
    return recorder.paths


def test_same_seed_draws_the_same_paths(tmp_path):
    first = train(tmp_path / 'a', seed=3)
    assert len(set(first)) > 1
    assert train(tmp_path / 'b', seed=3) == first
    assert train(tmp_path / 'c', seed=4) != first


def test_resumed_training_draws_the_remaining_paths(tmp_path):
    whole = train(tmp_path / 'a')
    stopped = train(tmp_path / 'b', iterations=3)
    resumed = train(tmp_path / 'b', resume=True)
    assert stopped == whole[:3]
    assert resumed == whole[3:]


def test_global_random_state_does_not_change_the_paths():
    hook = SinglePathSamplingHook()
    first = hook.draw(FOUR_BLOCKS, 0, 5)
    np.random.seed(1)
    np.random.rand(3)
    assert hook.draw(FOUR_BLOCKS, 0, 5) == first
    assert hook.draw(FOUR_BLOCKS, 0, 6) != first


def test_seed_of_the_hook_overrides_the_seed_of_the_run(tmp_path):
    recorder = PathRecorder()
    hooks = [SinglePathSamplingHook(seed=9), recorder]
    training_runner(tmp_path, custom_hooks=hooks).train()
    hook = SinglePathSamplingHook()
    assert recorder.paths == [hook.draw(FOUR_BLOCKS, 9, i) for i in range(6)]


def test_every_choice_has_the_same_chance():
    hook = SinglePathSamplingHook()
    paths = np.array([hook.draw(FOUR_BLOCKS, 0, i) for i in range(4000)])
    for block in paths.T:
        counts = np.bincount(block, minlength=4)
        # Five standard deviations of a binomial distribution.
        assert np.abs(counts - 1000).max() < 5 * (4000 * 3 / 16) ** 0.5


def test_mac_bins_spread_the_macs():
    costs = [
        backbone_macs(FOUR_BLOCKS, path, (32, 32))
        for path in FOUR_BLOCKS.all_paths()
    ]
    low, width = min(costs), (max(costs) - min(costs)) / 4
    bins = dict(
        low=low, width=width, num_bins=4, head_macs=0, input_size=(32, 32)
    )
    hook = SinglePathSamplingHook(mac_bins=bins)
    drawn = [
        backbone_macs(FOUR_BLOCKS, hook.draw(FOUR_BLOCKS, 0, i), (32, 32))
        for i in range(400)
    ]
    counts = np.histogram(drawn, bins=4, range=(low, low + 4 * width))[0]
    assert counts.sum() == 400
    assert counts.min() > 60
    with pytest.raises(ValueError, match='`num_bins`'):
        SinglePathSamplingHook(mac_bins=dict(num_bins=0))


def test_config_without_supernet_fails_at_once(tmp_path):
    model = ToyClassifier(searched(FOUR_BLOCKS, '0123'))
    with pytest.raises(ValueError, match='one DetNASSupernet') as error:
        training_runner(tmp_path, model=model).train()
    assert '\n' not in str(error.value)


def test_a_fair_update_takes_each_choice_once(tmp_path):
    """FairNAS, Section 3.2: one update after a path for each choice."""
    recorder, watch = PathRecorder(), UpdateCounter()
    optim_wrapper = dict(
        optimizer=dict(type='SGD', lr=0.01), accumulative_counts=4
    )
    training_runner(
        tmp_path,
        iterations=8,
        custom_hooks=[SinglePathSamplingHook(fair=True), recorder, watch],
        optim_wrapper=optim_wrapper,
    ).train()
    assert len(set(recorder.paths)) > 4
    for update in (recorder.paths[:4], recorder.paths[4:]):
        for choices in zip(*update, strict=True):
            assert sorted(choices) == [0, 1, 2, 3]
    # Weights change after the fourth and the eighth iteration alone.
    assert watch.changed == [False, False, False, True] * 2


def test_a_sandwich_update_takes_the_extremes(tmp_path):
    """Universally Slimmable Networks, Section 3.2."""
    recorder = PathRecorder()
    training_runner(
        tmp_path,
        iterations=8,
        custom_hooks=[SinglePathSamplingHook(sandwich=True), recorder],
        optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=0.01), accumulative_counts=4
        ),
    ).train()
    macs = {
        path: backbone_macs(FOUR_BLOCKS, path)
        for path in FOUR_BLOCKS.all_paths()
    }
    for update in (recorder.paths[:4], recorder.paths[4:]):
        assert macs[update[0]] == max(macs.values())
        assert macs[update[3]] == min(macs.values())
    assert len(set(recorder.paths)) > 4


def test_wrong_settings_are_refused(tmp_path):
    with pytest.raises(InputError, match='`fair` and `sandwich`'):
        SinglePathSamplingHook(fair=True, sandwich=True)
    hooks = [SinglePathSamplingHook(sandwich=True)]
    with pytest.raises(InputError, match=r'of 3 or more, got 1'):
        training_runner(tmp_path, custom_hooks=hooks).train()
    with pytest.raises(InputError, match='exclude each other'):
        SinglePathSamplingHook(fair=True, concentration=0.4)
    with pytest.raises(InputError, match='`concentration`'):
        SinglePathSamplingHook(concentration=0)
    hooks = [SinglePathSamplingHook(fair=True)]
    with pytest.raises(InputError, match=r'number of choices, 4, got 1'):
        training_runner(tmp_path, custom_hooks=hooks).train()


def test_uneven_paths_are_drawn():
    paths = np.array(
        [
            SinglePathSamplingHook(concentration=0.1).draw(FOUR_BLOCKS, 0, i)
            for i in range(400)
        ]
    )
    # Of uniform paths, a quarter repeats the choice in a stage of two blocks.
    assert (paths[:, 0] == paths[:, 1]).mean() > 0.6
