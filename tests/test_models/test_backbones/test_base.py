"""Properties that the supernet and searched backbones share."""

import pytest
import torch
from kit.models import changed_keys, copies, searched, supernet, toy_batch
from kit.spaces import DETECTOR_SPACE
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from detnas_mm.models import DetNASSupernet
from detnas_mm.utils.errors import InputError

PATH = '012301'
IMAGE = toy_batch(2, seed=0, size=(64, 65))['inputs']


@pytest.fixture(params=[supernet, searched])
def make(request):
    def build(space=DETECTOR_SPACE, path=PATH, **settings):
        return request.param(space, path, **settings)

    return build


def blocks_of(net):
    if isinstance(net, DetNASSupernet):
        return net.active_blocks()
    return list(net.blocks)


def test_strides_and_channels_of_the_stages(make):
    net = make()
    # Strides 4, 8, 16 and 32, sizes rounded up.
    assert [tuple(x.shape) for x in net(IMAGE)] == [
        (2, 8, 16, 17),
        (2, 12, 8, 9),
        (2, 16, 4, 5),
        (2, 24, 2, 3),
    ]
    assert net.out_channels == (8, 12, 16, 24)


def test_out_indices(make):
    outputs = make(seed=1).eval()(IMAGE)
    for indices in ((0,), (3,), (1, 3), [0, 1, 2]):
        net = make(seed=1, out_indices=indices).eval()
        for output, index in zip(net(IMAGE), indices, strict=True):
            assert torch.equal(output, outputs[index])
        channels = [DETECTOR_SPACE.stage_channels[i] for i in indices]
        assert net.out_channels == tuple(channels)


def test_impossible_settings_are_refused(make):
    for settings, message in (
        (dict(out_indices=()), r'`out_indices`.*0 to 3.* got \(\)'),
        (dict(out_indices=(4,)), r'`out_indices`.*0 to 3.* got \(4,\)'),
        (dict(out_indices=(0, -1)), r'`out_indices`.*got \(0, -1\)'),
        # A neck relies on channels in the order of the outputs.
        (dict(out_indices=(1, 0, 2)), '`out_indices`.*rising order'),
        (dict(frozen_stages=5), '`frozen_stages` must be -1 to 4, got 5'),
        (dict(frozen_stages=-2), '`frozen_stages`.*got -2'),
        (dict(space='smal'), "`search_space`.*'smal'"),
        (dict(shuffle='mixed'), "`shuffle`.*'mixed'"),
    ):
        with pytest.raises(InputError, match=message):
            make(**settings)


@pytest.mark.parametrize('frozen', [-1, 0, 1, 4])
def test_frozen_stages_do_not_learn(make, frozen):
    net = make(frozen_stages=frozen)
    before = copies(net.state_dict())
    net.eval()
    net.train()
    trained = [param for param in net.parameters() if param.requires_grad]
    if trained:
        optimizer = torch.optim.SGD(trained, lr=1.0, weight_decay=0.1)
        sum(x.square().mean() for x in net(IMAGE)).backward()
        optimizer.step()
    else:
        net(IMAGE)
    changed = changed_keys(before, net.state_dict())

    stages = [block.stage for block in DETECTOR_SPACE.blocks]
    for key in before:
        part, *rest = key.split('.')
        stage = -1 if part == 'stem' else stages[int(rest[0])]
        if stage < frozen or frozen == 0 == stage + 1:
            assert key not in changed
        elif part == 'stem':
            assert key in changed
    for block, stage in zip(blocks_of(net), stages, strict=True):
        assert block.training == (stage >= frozen)
    assert bool(changed) == (frozen < 4)


def test_norm_eval_keeps_statistics_and_trains_weights(make):
    net = make(norm_eval=True)
    before = copies(net.state_dict())
    net.train()
    assert not any(
        m.training for m in net.modules() if isinstance(m, _BatchNorm)
    )
    sum(x.square().mean() for x in net(IMAGE)).backward()
    assert not changed_keys(before, net.state_dict())
    # The affine parameters of BN still learn.
    assert net.stem[1].weight.grad.abs().max() > 0
    assert net.stem[0].weight.grad.abs().max() > 0


@pytest.mark.parametrize('frozen', [-1, 1])
def test_with_cp_changes_no_output_gradient_or_statistics(make, frozen):
    results = []
    for with_cp in (False, True):
        net = make(seed=3, with_cp=with_cp, frozen_stages=frozen)
        net.train()
        runs = []
        blocks_of(net)[-1].register_forward_pre_hook(
            lambda *_, runs=runs: runs.append(1)
        )
        outputs = net(IMAGE)
        sum(x.square().mean() for x in outputs).backward()
        result = {f'out {i}': x.detach() for i, x in enumerate(outputs)}
        result |= {
            name: param.grad
            for name, param in net.named_parameters()
            if param.grad is not None
        }
        # A block that runs twice must not count its images twice.
        result |= dict(net.named_buffers())
        results.append(result)
        # Otherwise it would save no memory.
        assert len(runs) == 1 + with_cp
    assert not changed_keys(*results)


def test_initial_weights(make):
    """Stem N(0, 0.01), others N(0, 1 / shape[1]), BN 1 and 1e-4."""
    net = make('small', '21202112331300313132')
    net.init_weights()
    stem = net.stem[0]
    count = stem.weight.numel()
    deviation = stem.weight.std().item()
    assert deviation == pytest.approx(0.01, rel=4 / (2 * count) ** 0.5)
    assert not stem.bias.any()
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d) and layer is not stem:
            weight = layer.weight
            ratio = weight.std().item() * weight.shape[1]
            tolerance = 6 / (2 * weight.numel()) ** 0.5
            assert ratio == pytest.approx(1, abs=tolerance)
            assert abs(weight.mean().item()) * weight.shape[1] < 6 / (
                weight.numel() ** 0.5
            )
        elif isinstance(layer, nn.BatchNorm2d):
            assert (layer.weight == 1).all()
            assert (layer.bias == 1e-4).all()


@pytest.mark.parametrize('kind', ['SyncBN', 'BN'])
def test_norm_cfg_works_in_one_process(make, kind):
    net = make(norm_cfg=dict(type=kind, eps=1e-3, requires_grad=False))
    norms = [m for m in net.modules() if isinstance(m, _BatchNorm)]
    expected = nn.SyncBatchNorm if kind == 'SyncBN' else nn.BatchNorm2d
    assert all(isinstance(norm, expected) for norm in norms)
    assert {norm.eps for norm in norms} == {1e-3}
    assert not any(norm.weight.requires_grad for norm in norms)
    before = copies(net.state_dict())
    sum(x.sum() for x in net.train()(IMAGE)).backward()
    assert 'stem.1.running_mean' in changed_keys(before, net.state_dict())
    net.eval()(IMAGE)
