"""Every config loads, builds, and keeps the rules for all of them."""

from copy import deepcopy

import pytest
import torch
from kit.configs import (
    DETECTORS,
    NAMES,
    RESNETS,
    VOC,
    is_supernet,
    names_of,
    read_config,
)
from mmdet.models.backbones import ResNet
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from detnas_mm.models import DetNASNet, DetNASSupernet

DIGITS = names_of('digits')
ALL = [*NAMES, *DIGITS]
# A path in place of that of a search, by the channels of the last stage.
KNOWN_PATHS = {
    256: '0123' * 2 + '01',
    640: 'detnas_fpn_300m',
    960: 'detnasnet_1.3g',
}


def prepared_model(name):
    """Config of a model that needs no file."""
    config = read_config(name)
    model = deepcopy(config.model)
    model.backbone.pop('init_cfg', None)
    if str(model.backbone.get('path', '')).endswith('/best.json'):
        channels = model.neck.in_channels
        last = channels if isinstance(channels, int) else channels[-1]
        model.backbone.path = KNOWN_PATHS[last]
    if model.type == 'ImageClassifier':
        model.data_preprocessor = deepcopy(config.data_preprocessor)
    # Models for VOC are those for COCO with fewer classes.
    head = model.get('roi_head', model).get('bbox_head', {})
    if head.get('num_classes') == 20:
        head.num_classes = 80
    return model, config.default_scope


@pytest.fixture(scope='module')
def models():
    """The models, each distinct one built once, without memory."""
    distinct, built = {}, {}
    for name in ALL:
        model, scope_name = prepared_model(name)
        key = repr(model)
        if key not in distinct:
            scope = DefaultScope.get_instance(
                f'configs{len(distinct)}', scope_name=scope_name
            )
            with (
                DefaultScope.overwrite_default_scope(scope.scope_name),
                torch.device('meta'),
            ):
                distinct[key] = MODELS.build(model)
        built[name] = distinct[key]
    return built


def test_there_are_configs_of_every_stage():
    for folder in ('detnas', 'digits'):
        names = names_of(folder)
        for part in ('supernet', 'search', 'faster-rcnn', 'retinanet'):
            assert any(part in name for name in names), (folder, part)


@pytest.mark.parametrize('name', ALL)
def test_name_says_what_it_is(models, name):
    backbone = models[name].backbone
    if name in RESNETS:
        expected = ResNet
    else:
        expected = DetNASSupernet if is_supernet(name) else DetNASNet
    assert isinstance(backbone, expected)
    kinds = {'faster-rcnn': 'FasterRCNN', 'retinanet': 'RetinaNet'}
    detector = name.split('/')[1].partition('_')[0]
    kind = kinds.get(detector, 'ImageClassifier')
    assert type(models[name]).__name__ == kind


@pytest.mark.parametrize('name', ALL)
def test_neck_takes_what_the_backbone_gives(models, name):
    channels = [256, 512, 1024, 2048]
    if name not in RESNETS:
        channels = models[name].backbone.search_space.stage_channels
    expected = list(channels) if '_fpn_' in name else channels[-1]
    assert read_config(name).model.neck.in_channels == expected


@pytest.mark.parametrize('name', ALL)
def test_nothing_is_downloaded(name):
    assert 'http' not in str(read_config(name).to_dict())
    assert '://' not in str(read_config(name).to_dict())


@pytest.mark.parametrize('name', ALL)
def test_supernets_and_only_they_have_the_hooks(name):
    config = read_config(name)
    hooks = [hook['type'] for hook in config.get('custom_hooks', ())]
    ours = [
        'detnas_mm.SinglePathSamplingHook',
        'detnas_mm.BNRecalibrationHook',
    ]
    assert hooks == (ours if is_supernet(name) else [])
    assert bool(config.get('find_unused_parameters')) == is_supernet(name)


def norms(model, prefix):
    """Types of the normalisations of a part of the model."""
    return {
        nn.SyncBatchNorm
        if isinstance(layer, nn.SyncBatchNorm)
        else type(layer)
        for name, layer in model.named_modules()
        if name.startswith(prefix)
        and isinstance(layer, nn.modules.batchnorm._BatchNorm)
    }


@pytest.mark.parametrize('name', DETECTORS)
def test_sync_bn_where_the_authors_have_it(models, name):
    model = models[name]
    assert norms(model, 'backbone') == {nn.SyncBatchNorm}
    assert all(param.requires_grad for param in model.parameters())
    neck = model.neck
    for conv in [*neck.lateral_convs, *neck.fpn_convs]:
        # RetinaNet's additional levels are no output convolutions.
        assert isinstance(conv.norm, nn.SyncBatchNorm)
    if 'faster' in name:
        convs = model.roi_head.bbox_head.shared_convs
        assert all(isinstance(c.norm, nn.SyncBatchNorm) for c in convs)
        assert not norms(model, 'rpn_head')
        assert len(list(convs)) == 4
    else:
        assert not norms(model, 'bbox_head')


@pytest.mark.parametrize('name', DETECTORS)
def test_as_many_classes_as_the_data_have(name):
    model = read_config(name).model
    head = model.get('roi_head', model).bbox_head
    assert head.num_classes == (20 if name in VOC else 80)


@pytest.mark.parametrize('name', [n for n in ALL if '/faster' in n])
def test_box_head_is_4conv1fc(models, name):
    head = models[name].roi_head.bbox_head
    assert len(head.shared_convs) == 4
    assert len(head.shared_fcs) == 1
    extractor = models[name].roi_head.bbox_roi_extractor
    assert {layer.sampling_ratio for layer in extractor.roi_layers} == {2}


@pytest.mark.parametrize('name', DIGITS)
def test_digits_run_on_one_process(models, name):
    assert norms(models[name], '') == {nn.BatchNorm2d}


@pytest.mark.parametrize('name', DETECTORS)
def test_named_as_mmdet_does(name):
    detector, _, neck, schedule, data = name.split('/')[1].split('_')
    assert detector in ('faster-rcnn', 'retinanet')
    assert neck == 'fpn'
    assert data in ('coco', 'voc0712')
    iterations = {'coco': 90_000, 'voc0712': 22_500}[data]
    times = {'1x': 1, '2x': 2}[schedule]
    assert read_config(name).train_cfg.max_iters == iterations * times
