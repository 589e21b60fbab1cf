"""Every config loads, builds a model, and keeps the rules for all configs."""

import functools
from copy import deepcopy

import torch
from kit.configs import (
    DETECTORS,
    DIGITS,
    NAMES,
    RESNETS,
    VOC,
    for_each,
    is_supernet,
    read_config,
)
from mmdet.models.backbones import ResNet
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from detnas_mm.models import DetNASNet, DetNASSupernet

ALL = [*NAMES, *DIGITS]
# A path that replaces that of a search, by the search space, or where only
# the result of the search names it, by the channels of the last stage.
KNOWN_PATHS = {
    'tiny': '0123' * 2 + '01',
    'elastic_tiny': '012 012 0123 012',
    640: 'detnas_fpn_300m',
    960: 'detnasnet_1.3g',
}
_built = {}


@functools.cache
def build(name):
    """Builds a model without memory, each distinct model once."""
    config = read_config(name)
    model = deepcopy(config.model)
    model.backbone.pop('init_cfg', None)
    if str(model.backbone.get('path', '')).endswith('/best.json'):
        channels = model.neck.in_channels
        last = channels if isinstance(channels, int) else channels[-1]
        space = model.backbone.get('search_space', last)
        model.backbone.path = KNOWN_PATHS[space]
    if model.type == 'ImageClassifier':
        model.data_preprocessor = deepcopy(config.data_preprocessor)
    # A model for VOC is a model for COCO with fewer classes.
    head = model.get('roi_head', model).get('bbox_head', {})
    if head.get('num_classes') == 20:
        head.num_classes = 80
    key = repr(model)
    if key not in _built:
        scope = DefaultScope.get_instance(
            f'configs{len(_built)}', scope_name=config.default_scope
        )
        with (
            DefaultScope.overwrite_default_scope(scope.scope_name),
            torch.device('meta'),
        ):
            _built[key] = MODELS.build(model)
    return _built[key]


def norms(module):
    """Returns the types of the batch normalizations in a module."""
    return {
        nn.SyncBatchNorm
        if isinstance(layer, nn.SyncBatchNorm)
        else type(layer)
        for layer in module.modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm)
    }


@for_each(ALL)
def test_model_fits_the_name(name):
    model, backbone = build(name), build(name).backbone
    channels = [256, 512, 1024, 2048]
    if name in RESNETS:
        assert isinstance(backbone, ResNet)
    else:
        kind = DetNASSupernet if is_supernet(name) else DetNASNet
        assert isinstance(backbone, kind)
        channels = list(backbone.search_space.stage_channels)
    kinds = {'faster-rcnn': 'FasterRCNN', 'retinanet': 'RetinaNet'}
    detector = name.split('/')[1].partition('_')[0]
    assert type(model).__name__ == kinds.get(detector, 'ImageClassifier')
    in_channels = read_config(name).model.neck.in_channels
    assert in_channels == (channels if '_fpn_' in name else channels[-1])


@for_each(ALL)
def test_settings_of_all_configs(name):
    """Only supernets draw paths, and nothing is downloaded."""
    config = read_config(name)
    assert '://' not in str(config.to_dict())
    hooks = config.get('custom_hooks', ())
    if is_supernet(name):
        expected = ['SinglePathSamplingHook', 'BNRecalibrationHook']
    elif name.startswith('digits/') and '_fpn_' in name:
        expected = ['BNRecalibrationHook']
        assert hooks[0]['at_end']
    else:
        expected = []
    assert [hook['type'] for hook in hooks] == [
        f'detnas_mm.{hook}' for hook in expected
    ]
    assert bool(config.get('find_unused_parameters')) == is_supernet(name)


@for_each(DETECTORS)
def test_detectors_are_those_of_the_authors(name):
    """SyncBN in the same places, and the number of classes."""
    model = read_config(name).model
    head = model.get('roi_head', model).bbox_head
    assert head.num_classes == (20 if name in VOC else 80)
    model = build(name)
    assert norms(model.backbone) == {nn.SyncBatchNorm}
    assert all(param.requires_grad for param in model.parameters())
    for conv in [*model.neck.lateral_convs, *model.neck.fpn_convs]:
        # RetinaNet's additional levels are no output convolutions.
        assert isinstance(conv.norm, nn.SyncBatchNorm)
    if 'faster' in name:
        for conv in model.roi_head.bbox_head.shared_convs:
            assert isinstance(conv.norm, nn.SyncBatchNorm)
        assert not norms(model.rpn_head)
    else:
        assert not norms(model.bbox_head)


@for_each([name for name in ALL if '/faster' in name])
def test_box_head_is_4conv1fc(name):
    head = build(name).roi_head.bbox_head
    assert len(head.shared_convs) == 4
    assert len(head.shared_fcs) == 1
    extractor = build(name).roi_head.bbox_roi_extractor
    assert {layer.sampling_ratio for layer in extractor.roi_layers} == {2}


@for_each(DIGITS)
def test_digits_run_in_one_process(name):
    assert norms(build(name)) == {nn.BatchNorm2d}
