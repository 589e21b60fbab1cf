"""BN statistics of a path, against statistics computed by hand."""

import random

import numpy as np
import pytest
import torch
from kit.detectors import DETECTORS, build_detector, detection_batch
from kit.models import ToyClassifier, changed_keys, copies, supernet, toy_batch
from kit.spaces import FOUR_BLOCKS
from mmdet.models.data_preprocessors import BatchSyncRandomResize
from mmengine.logging import MessageHub
from mmengine.model import BaseDataPreprocessor, BaseModel
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from detnas_mm.models import (
    preserved_bn_statistics,
    recalibrate_bn,
    restore_bn_statistics,
    save_bn_statistics,
)
from detnas_mm.utils.errors import InputError

SIZES = [5, 3, 1, 7]
BATCHES = [toy_batch(n, seed=n, size=(24, 20)) for n in SIZES]
PATH = '0312'


def classifier(path=PATH, **settings):
    return ToyClassifier(supernet(FOUR_BLOCKS, path, seed=1, **settings))


def statistics(model):
    return {
        key: value
        for key, value in copies(dict(model.named_buffers())).items()
        if key.endswith(('running_mean', 'running_var'))
    }


def taken_statistics(model, path=PATH):
    """Statistics of the stem and of the choices on the path."""
    taken = tuple(f'backbone.blocks.{i}.{c}.' for i, c in enumerate(path))
    return {
        key: value
        for key, value in statistics(model).items()
        if key.startswith((*taken, 'backbone.stem.'))
    }


def mean_and_variance(x):
    """Of a batch ``(N, C, H, W)`` by channel, in float64, unbiased."""
    values = x.double().transpose(0, 1).flatten(1).numpy()
    return values.mean(1), values.var(1, ddof=1)


def statistics_by_hand(model, batches):
    """Means and variances of the inputs of all BN, weighted by images."""
    inputs = {}
    handles = [
        layer.register_forward_pre_hook(
            lambda _, x, name=name: inputs.setdefault(name, []).append(
                mean_and_variance(x[0].detach())
            )
        )
        for name, layer in model.named_modules()
        if isinstance(layer, _BatchNorm)
    ]
    model.train()
    before = copies(model.state_dict())
    for batch in batches:
        model(**batch, mode='loss')
    model.load_state_dict(before)
    for handle in handles:
        handle.remove()
    weights = [len(batch['inputs']) for batch in batches]
    expected = {}
    for name, values in inputs.items():
        means, variances = zip(*values, strict=True)
        expected[f'{name}.running_mean'] = np.average(means, 0, weights)
        expected[f'{name}.running_var'] = np.average(variances, 0, weights)
    return expected


def test_statistics_are_those_computed_by_hand():
    model = classifier()
    expected = statistics_by_hand(model, BATCHES)
    before = copies(model.state_dict())
    assert recalibrate_bn(model, BATCHES) == sum(SIZES)
    found = taken_statistics(model)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        # Float32 in the network, float64 by hand.
        np.testing.assert_allclose(found[key], value, rtol=2e-5, atol=1e-6)
    # No weight of any choice, and nothing at all of the other choices.
    changed = changed_keys(before, model.state_dict())
    counters = {
        key.replace('running_mean', 'num_batches_tracked') for key in found
    }
    assert set(found) <= changed <= set(found) | counters


@pytest.mark.parametrize('value', [0.0, 1e30, float('inf'), float('nan')])
def test_previous_statistics_do_not_matter(value):
    """Not even if one bad batch has made them NaN."""
    fresh, spoilt = classifier(), classifier()
    for layer in spoilt.modules():
        if isinstance(layer, _BatchNorm):
            layer.running_mean.fill_(value)
            layer.running_var.fill_(abs(value))
    recalibrate_bn(fresh, BATCHES)
    recalibrate_bn(spoilt, BATCHES)
    assert not changed_keys(taken_statistics(fresh), taken_statistics(spoilt))


def test_order_of_evaluations_does_not_matter():
    def recalibrated(model, path):
        with model.backbone.activate(path):
            recalibrate_bn(model, BATCHES)
            return taken_statistics(model, path)

    model = classifier()
    first = recalibrated(model, '0000')
    second = recalibrated(model, '0123')
    assert not changed_keys(recalibrated(model, '0000'), first)
    other = classifier()
    assert not changed_keys(recalibrated(other, '0123'), second)
    assert not changed_keys(recalibrated(other, '0000'), first)


@pytest.mark.parametrize('momentum', [0.1, None])
@pytest.mark.parametrize('fails', [False, True])
def test_nothing_but_the_statistics_changes(momentum, fails):
    model = classifier()
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    for norm in norms:
        norm.momentum = momentum
    state = torch.get_rng_state()
    if fails:
        with pytest.raises(TypeError):
            recalibrate_bn(model, [BATCHES[0], dict(inputs=None)])
    else:
        recalibrate_bn(model, BATCHES)
    assert {norm.momentum for norm in norms} == {momentum}
    assert not any(m._forward_hooks for m in model.modules())
    assert not any(m._forward_pre_hooks for m in model.modules())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(param.grad is None for param in model.parameters())


def test_layers_in_evaluation_mode_keep_their_statistics():
    model = classifier(norm_eval=True)
    before = copies(model.state_dict())
    recalibrate_bn(model, BATCHES)
    assert not changed_keys(before, model.state_dict())

    model = classifier(frozen_stages=1)
    before = statistics(model)
    recalibrate_bn(model, BATCHES)
    assert changed_keys(before, statistics(model)) == {
        key
        for key in taken_statistics(model)
        if key.startswith(('backbone.blocks.2.', 'backbone.blocks.3.'))
    }


class SharedHead(BaseModel):
    """A BN that runs on several levels of each image, and an unused one."""

    def __init__(self):
        super().__init__()
        self.shared = nn.BatchNorm2d(3)
        self.unused = nn.BatchNorm2d(3)

    def forward(self, inputs, mode):
        for step in (1, 2, 4):
            self.shared(inputs[:, :, ::step, ::step] * step)


def test_levels_that_share_a_layer_weigh_equally():
    model = SharedHead()
    nn.init.constant_(model.unused.running_mean, 7)
    batches = [dict(inputs=batch['inputs']) for batch in BATCHES]
    runs, weights = [], []
    for batch in batches:
        x = batch['inputs']
        for step in (1, 2, 4):
            runs.append(mean_and_variance(x[:, :, ::step, ::step] * step))
            weights.append(len(x))
    means, variances = zip(*runs, strict=True)
    recalibrate_bn(model, batches)
    for found, values in (
        (model.shared.running_mean, means),
        (model.shared.running_var, variances),
    ):
        expected = np.average(values, 0, weights)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert (model.unused.running_mean == 7).all()
    assert (model.unused.running_var == 1).all()


def test_no_image_is_refused():
    model = classifier()
    before = copies(model.state_dict())
    with pytest.raises(InputError, match='at least one image'):
        recalibrate_bn(model, [])
    assert not changed_keys(before, model.state_dict())


def test_statistics_are_preserved():
    model = classifier()
    before = copies(model.state_dict())
    with preserved_bn_statistics(model):
        recalibrate_bn(model, BATCHES)
        assert changed_keys(before, model.state_dict())
    assert not changed_keys(before, model.state_dict())
    with pytest.raises(TypeError), preserved_bn_statistics(model):
        recalibrate_bn(model, [BATCHES[0], dict(inputs=None)])
    assert not changed_keys(before, model.state_dict())


def test_statistics_are_restored_after_the_path_has_changed():
    model = classifier()
    before = copies(model.state_dict())
    saved = save_bn_statistics(model)
    # Only the active path, since a supernet has many layers.
    assert set(taken_statistics(model)) < set(saved)
    assert len(saved) == len(taken_statistics(model)) * 3 // 2
    recalibrate_bn(model, BATCHES)
    model.backbone.set_path('3333')
    restore_bn_statistics(model, saved)
    assert not changed_keys(before, model.state_dict())


IMAGES = [detection_batch(2, seed=0), detection_batch(3, seed=1)]


def recalibrated(detector, seed=5):
    assert recalibrate_bn(detector, IMAGES, (seed,)) == 5
    return statistics(detector)


def draw():
    return random.random(), np.random.rand(), torch.rand(1).item()


@pytest.mark.parametrize('kind', DETECTORS)
def test_detectors_are_recalibrated_reproducibly(kind):
    """Sampling of regions included, whatever was drawn before."""
    detector = build_detector(kind, '012301')
    before = copies(detector.state_dict())
    first = recalibrated(detector)
    for seed_all in (random.seed, np.random.seed, torch.manual_seed):
        seed_all(3)
    expected = draw(), draw()
    for seed_all in (random.seed, np.random.seed, torch.manual_seed):
        seed_all(3)
    assert draw() == expected[0]
    assert not changed_keys(first, recalibrated(detector))
    # The random state is the same as before.
    assert draw() == expected[1]
    # Statistics of the heads are recomputed too, weights are not.
    changed = changed_keys(before, detector.state_dict())
    parts = {key.split('.')[0] for key in changed}
    assert {'backbone', 'neck'} < parts
    assert all('running' in key or 'num_batches' in key for key in changed)
    # Only the box head depends on the seed, by the sampling of regions.
    parts = changed_keys(first, recalibrated(detector, seed=6))
    assert {key.split('.')[0] for key in parts} == (
        {'roi_head'} if kind == 'faster_rcnn' else set()
    )


class Preprocessor(BaseDataPreprocessor):
    """Has batch augmentations, as mmdet's."""

    def __init__(self, augments):
        super().__init__()
        self.batch_augments = nn.ModuleList(augments)

    def forward(self, data, training=False):
        inputs = data['inputs']
        if training:
            for augment in self.batch_augments:
                inputs, _ = augment(inputs, [])
        return data | dict(inputs=inputs)


def test_batch_augmentations_that_ask_for_the_iteration():
    """The statistics depend neither on it nor on earlier batches."""
    augment = BatchSyncRandomResize((32, 160), interval=1)
    model = classifier()
    model.data_preprocessor = Preprocessor([augment])
    batches = [toy_batch(4, seed, size=(32, 32)) for seed in range(4)]
    hub = MessageHub.get_current_instance()
    sizes, results = [], []
    model.backbone.register_forward_pre_hook(
        lambda _, inputs: sizes.append(tuple(inputs[0].shape[-2:]))
    )
    for iteration, state in ((None, None), (5, (64, 64))):
        hub.update_info('iter', iteration)
        augment._input_size = state
        recalibrate_bn(model, batches)
        results.append(statistics(model))
        assert hub.get_info('iter') == iteration
        assert augment._input_size == state
    assert not changed_keys(*results)
    assert sizes[:4] == sizes[4:]
    # The first has its own size, as in a training.
    assert sizes[0] == (32, 32)
    assert len(set(sizes)) > 1


def test_batch_with_one_value_per_channel_names_the_settings():
    model = classifier()
    batches = [toy_batch(1, seed=0, size=(2, 2))]
    with pytest.raises(InputError, match='batch of 1 images .*`num_images`'):
        recalibrate_bn(model, batches)
