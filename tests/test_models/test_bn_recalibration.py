"""BN statistics of a path, against statistics computed by hand."""

import math
import random

import numpy as np
import pytest
import torch
from kit.detectors import DETECTORS, build_detector, detection_batch
from kit.models import ToyClassifier, changed_keys, copies, supernet, toy_batch
from kit.spaces import FOUR_BLOCKS
from mmdet.models.data_preprocessors import BatchSyncRandomResize
from mmdet.models.dense_heads import RetinaHead
from mmengine.logging import MessageHub
from mmengine.model import BaseDataPreprocessor, BaseModel
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from detnas_mm.models import (
    recalibrate_bn,
    restore_bn_statistics,
    save_bn_statistics,
)
from detnas_mm.models.bn_recalibration import (
    bn_independent_of_loss,
    check_finite,
)
from detnas_mm.utils.errors import InputError

SIZES = [5, 3, 1, 7]
BATCHES = [toy_batch(n, seed=n, size=(24, 20)) for n in SIZES]
PATH = '0312'


def classifier(path=PATH, **settings):
    return ToyClassifier(supernet(FOUR_BLOCKS, path, seed=1, **settings))


def norms(model):
    return [m for m in model.modules() if isinstance(m, _BatchNorm)]


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
    for layer in norms(spoilt):
        layer.running_mean.fill_(value)
        layer.running_var.fill_(abs(value))
    recalibrate_bn(fresh, BATCHES)
    recalibrate_bn(spoilt, BATCHES)
    assert not changed_keys(taken_statistics(fresh), taken_statistics(spoilt))


@pytest.mark.parametrize('fails', [False, True])
def test_nothing_but_the_statistics_changes(fails):
    model = classifier()
    layers = norms(model)
    momenta = {layer: (0.1, None)[i % 2] for i, layer in enumerate(layers)}
    for layer, momentum in momenta.items():
        layer.momentum = momentum
    state = torch.get_rng_state()
    if fails:
        with pytest.raises(TypeError):
            recalibrate_bn(model, [BATCHES[0], dict(inputs=None)])
    else:
        recalibrate_bn(model, BATCHES)
    assert {layer: layer.momentum for layer in layers} == momenta
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


def test_statistics_are_restored_after_a_failure_and_another_path():
    model = classifier()
    before = copies(model.state_dict())
    saved = save_bn_statistics(model)
    # Only the active path, since a supernet has many layers.
    assert set(taken_statistics(model)) < set(saved)
    assert len(saved) == len(taken_statistics(model)) * 3 // 2
    recalibrate_bn(model, BATCHES)
    assert changed_keys(before, model.state_dict())
    with pytest.raises(TypeError):
        recalibrate_bn(model, [BATCHES[0], dict(inputs=None)])
    model.backbone.set_path('3333')
    restore_bn_statistics(model, saved)
    assert not changed_keys(before, model.state_dict())


IMAGES = [detection_batch(2, seed=0), detection_batch(3, seed=1)]


def recalibrated(detector, seed=5):
    assert recalibrate_bn(detector, IMAGES, (seed,)) == 5
    return statistics(detector)


def seed_all(seed=3):
    for set_seed in (random.seed, np.random.seed, torch.manual_seed):
        set_seed(seed)


def draw():
    return random.random(), np.random.rand(), torch.rand(1).item()


@pytest.mark.parametrize('kind', DETECTORS)
def test_detectors_are_recalibrated_reproducibly(kind):
    """Sampling of regions included, whatever was drawn before."""
    detector = build_detector(kind, '012301')
    before = copies(detector.state_dict())
    first = recalibrated(detector)
    seed_all()
    expected = draw(), draw()
    seed_all()
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


# --- forward passes without losses -----------------------------------------


def test_only_one_stage_detectors_need_no_losses():
    assert not bn_independent_of_loss(build_detector('faster_rcnn'))
    assert not bn_independent_of_loss(classifier())
    detector = build_detector('retinanet')
    for part in (detector, detector.bbox_head):
        assert bn_independent_of_loss(detector)
        known = type(part)
        own = type('Own', (known,), dict(__module__='mmdet.models'))
        part.__class__ = own
        assert bn_independent_of_loss(detector)
        # An overridden method may do anything.
        own.loss = print
        assert not bn_independent_of_loss(detector)
        part.__class__ = known


def buffers_after():
    detector = build_detector('retinanet', (0, 3, 1, 2, 1, 0))
    recalibrate_bn(detector, IMAGES)
    return list(detector.buffers())


def test_statistics_are_the_same_without_losses(monkeypatch):
    name = 'detnas_mm.models.bn_recalibration.bn_independent_of_loss'
    with monkeypatch.context() as patch:
        patch.setattr(name, lambda model: False)
        with_losses = buffers_after()
    # No loss is computed.
    monkeypatch.setattr(RetinaHead, 'loss_by_feat', None)
    assert all(map(torch.equal, buffers_after(), with_losses))
    monkeypatch.setattr(name, lambda model: False)
    with pytest.raises(TypeError):
        buffers_after()


FINE = torch.tensor([3.0, -4.0])


def test_finite_outputs_pass():
    for outputs in (
        {},
        None,
        [],
        torch.zeros(0),
        dict(loss=FINE, loss_list=[FINE, FINE], acc=torch.tensor(math.nan)),
        ([FINE, FINE], [FINE.half()]),
        # The sum of so many large numbers is not finite.
        [torch.full((9,), 6e4, dtype=torch.half)],
    ):
        check_finite(outputs)


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize('dtype', [torch.float, torch.bfloat16])
def test_one_value_that_is_not_finite_is_refused(value, dtype):
    wrong = torch.zeros(2, 3, 4, dtype=dtype)
    wrong[1, 2, 3] = value
    message = f'loss_bbox is {value} on the image'
    with pytest.raises(FloatingPointError, match=message):
        check_finite(dict(loss_cls=FINE, loss_bbox=[FINE, wrong]))
    message = f'of the heads is {value} on'
    with pytest.raises(FloatingPointError, match=message):
        check_finite(([FINE], [FINE, wrong]))
