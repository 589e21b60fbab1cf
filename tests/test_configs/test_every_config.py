"""Every config loads, builds, and keeps the rules for all of them."""

from copy import deepcopy
from pathlib import Path

import pytest
from kit.digits_runs import CONFIGS
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from detnas_mm.models import DetNASNet, DetNASSupernet

NAMES = sorted(
    f'{file.parent.name}/{file.stem}'
    for folder in ('detnas', 'digits')
    for file in (CONFIGS / folder).glob('*.py')
)
COCO = [name for name in NAMES if name.endswith('coco')]
DETECTORS = [name for name in NAMES if '_fpn_' in name]


@pytest.fixture(scope='module')
def configs():
    return {name: Config.fromfile(CONFIGS / f'{name}.py') for name in NAMES}


@pytest.fixture(scope='module')
def models(configs):
    """The models, with a known path where a search would give one."""
    built = {}
    for number, (name, config) in enumerate(configs.items()):
        model = deepcopy(config.model)
        if model.backbone.type == 'detnas_mm.DetNASNet':
            assert model.backbone.path.endswith('/best.json')
            digits = name.startswith('digits')
            model.backbone.path = '0123' * 2 + '01'
            if not digits:
                model.backbone.path = 'detnas_fpn_300m'
        if model.type == 'ImageClassifier':
            model.data_preprocessor = config.data_preprocessor
        scope = DefaultScope.get_instance(
            f'configs{number}', scope_name=config.default_scope
        )
        with DefaultScope.overwrite_default_scope(scope.scope_name):
            built[name] = MODELS.build(model)
    return built


def test_there_are_configs_of_every_stage():
    for folder in ('detnas', 'digits'):
        names = [name for name in NAMES if name.startswith(folder)]
        for part in ('supernet', 'search', 'faster-rcnn', 'retinanet'):
            assert any(part in name for name in names), (folder, part)


@pytest.mark.parametrize('name', NAMES)
def test_builds_with_one_backbone_of_ours(models, name):
    backbone = models[name].backbone
    supernet = 'supernet' in name or 'search' in name
    assert isinstance(backbone, DetNASSupernet if supernet else DetNASNet)


@pytest.mark.parametrize('name', NAMES)
def test_nothing_is_downloaded(configs, name):
    assert 'http' not in str(configs[name].to_dict())
    assert 'torchvision://' not in str(configs[name].to_dict())


@pytest.mark.parametrize('name', NAMES)
def test_supernets_and_only_they_have_the_hooks(configs, name):
    config = configs[name]
    hooks = [hook['type'] for hook in config.get('custom_hooks', ())]
    supernet = 'supernet' in name or 'search' in name
    ours = [
        'detnas_mm.SinglePathSamplingHook',
        'detnas_mm.BNRecalibrationHook',
    ]
    assert hooks == (ours if supernet else [])
    assert bool(config.get('find_unused_parameters')) == supernet


@pytest.mark.parametrize('name', DETECTORS)
def test_pretrained_weights_are_those_of_the_config_before(configs, name):
    """The checkpoint is what the config of that folder leaves."""
    config = configs[name]
    file = Path(config.model.backbone.init_cfg.checkpoint)
    assert config.model.backbone.init_cfg.prefix == 'backbone.'
    (before,) = (one for one in NAMES if Path(one).name == file.parent.name)
    settings = configs[before].train_cfg
    last = (
        f'epoch_{settings.max_epochs}'
        if settings.by_epoch
        else f'iter_{settings.max_iters}'
    )
    assert file.stem == last


@pytest.mark.parametrize('name', NAMES)
def test_paths_come_from_the_search_of_that_name(configs, name):
    backbone = configs[name].model.backbone
    if backbone.type == 'detnas_mm.DetNASNet':
        searches = [one.split('/')[1] for one in NAMES if 'search' in one]
        assert Path(backbone.path).parent.name in searches


@pytest.mark.parametrize('name', DETECTORS)
def test_search_split_is_neither_trained_nor_reported(configs, name):
    config = configs[name]
    train, val, test = (
        config[f'{split}_dataloader'].dataset
        for split in ('train', 'val', 'test')
    )
    files = train.ann_file, val.ann_file, test.ann_file
    if 'supernet' in name or 'search' in name:
        assert len(set(files)) == 3
        assert 'search' in val.ann_file
        assert val.ann_file in config.val_evaluator.ann_file
    else:
        assert train.ann_file != test.ann_file
        assert val.ann_file != train.ann_file
    assert 'search' not in train.ann_file
    assert 'search' not in test.ann_file
    assert test.ann_file in config.test_evaluator.ann_file
    assert val.ann_file in config.val_evaluator.ann_file


@pytest.mark.parametrize('name', COCO)
def test_test_split_of_coco_is_val2017(configs, name):
    dataset = configs[name].test_dataloader.dataset
    assert dataset.ann_file == 'annotations/instances_val2017.json'
    assert dataset.data_prefix.img == 'val2017/'
    if 'supernet' in name or 'search' in name:
        val = configs[name].val_dataloader.dataset
        assert val.data_prefix.img == 'train2017/'


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


@pytest.mark.parametrize('name', COCO)
def test_sync_bn_where_the_authors_have_it(models, name):
    model = models[name]
    assert norms(model, 'backbone') == {nn.SyncBatchNorm}
    neck = model.neck
    for conv in [*neck.lateral_convs, *neck.fpn_convs]:
        # RetinaNet's additional levels are no output convolutions.
        assert isinstance(conv.norm, nn.SyncBatchNorm)
        assert conv.norm.weight.requires_grad
    if 'faster' in name:
        convs = model.roi_head.bbox_head.shared_convs
        assert all(isinstance(c.norm, nn.SyncBatchNorm) for c in convs)
        assert not norms(model, 'rpn_head')
        assert len(list(convs)) == 4
    else:
        assert not norms(model, 'bbox_head')


@pytest.mark.parametrize('name', [n for n in NAMES if 'faster' in n])
def test_box_head_is_4conv1fc(models, name):
    head = models[name].roi_head.bbox_head
    assert len(head.shared_convs) == 4
    assert len(head.shared_fcs) == 1
    extractor = models[name].roi_head.bbox_roi_extractor
    assert {layer.sampling_ratio for layer in extractor.roi_layers} == {2}


@pytest.mark.parametrize('name', [n for n in NAMES if n.startswith('digits')])
def test_digits_run_on_one_process(models, name):
    assert norms(models[name], '') == {nn.BatchNorm2d}


@pytest.mark.parametrize('name', DETECTORS)
def test_detector_takes_the_images_of_its_pre_training(configs, name):
    """Same mean, deviation and order of colours, or the weights misfit."""
    config = configs[name]
    folder = Path(config.model.backbone.init_cfg.checkpoint).parent.name
    (before,) = (one for one in NAMES if Path(one).name == folder)
    classifier = configs[before].data_preprocessor
    detector = config.model.data_preprocessor
    assert detector.mean == classifier.mean
    assert detector.std == classifier.std
    assert detector.bgr_to_rgb == classifier.to_rgb
    if name in COCO:
        # BGR from 0 to 255: the first BN absorbs the scale.
        assert (detector.mean, detector.std) == ([0.0] * 3, [1.0] * 3)
        assert not detector.bgr_to_rgb
