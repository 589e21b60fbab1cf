"""Every config loads, builds, and keeps the rules for all of them."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from kit.stand_in_runs import FOLDERS, find_config, names_of, read_config
from mmdet.models.backbones import ResNet
from mmengine.registry import MODELS, DefaultScope
from torch import nn
from torchvision.models import get_model_weights

from detnas_mm.models import DetNASNet, DetNASSupernet

NAMES = names_of(*FOLDERS, 'digits')
COCO = [name for name in NAMES if name.endswith('coco')]
VOC = [name for name in NAMES if name.endswith('voc0712')]
DETECTORS = [name for name in NAMES if '_fpn_' in name]
RESNETS = [name for name in DETECTORS if '_r50_' in name or '_r101_' in name]
SCRATCH = [
    name
    for name in DETECTORS
    if 'scratch-supernet' in name or 'scratch-search' in name
]
PRE_TRAINED = [n for n in DETECTORS if n not in (*RESNETS, *SCRATCH)]
# A path in place of that of a search, by the channels of the last stage.
KNOWN_PATHS = {
    256: '0123' * 2 + '01',
    640: 'detnas_fpn_300m',
    960: 'detnasnet_1.3g',
}


def is_supernet(name):
    return 'supernet' in name or 'search' in name


def datasets(config, split):
    """The data sets of a split: one for each year of VOC."""
    dataset = config[f'{split}_dataloader'].dataset
    return dataset.get('datasets', [dataset])


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
    for name in NAMES:
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


def pre_training(name):
    """The config whose weights a detector starts from."""
    file = Path(read_config(name).model.backbone.init_cfg.checkpoint)
    folder = 'digits' if name.startswith('digits') else None
    if folder is None:
        return find_config(file.parent.name)
    (before,) = (n for n in names_of('digits') if n.endswith(file.parent.name))
    return before


def test_there_are_configs_of_every_stage():
    for folder in ('detnas', 'digits'):
        names = [name for name in NAMES if name.startswith(folder)]
        for part in ('supernet', 'search', 'faster-rcnn', 'retinanet'):
            assert any(part in name for name in names), (folder, part)


@pytest.mark.parametrize('name', NAMES)
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


@pytest.mark.parametrize('name', NAMES)
def test_neck_takes_what_the_backbone_gives(models, name):
    channels = [256, 512, 1024, 2048]
    if name not in RESNETS:
        channels = models[name].backbone.search_space.stage_channels
    expected = list(channels) if name in DETECTORS else channels[-1]
    assert read_config(name).model.neck.in_channels == expected


@pytest.mark.parametrize('name', NAMES)
def test_nothing_is_downloaded(name):
    assert 'http' not in str(read_config(name).to_dict())
    assert '://' not in str(read_config(name).to_dict())


@pytest.mark.parametrize('name', NAMES)
def test_supernets_and_only_they_have_the_hooks(name):
    config = read_config(name)
    hooks = [hook['type'] for hook in config.get('custom_hooks', ())]
    ours = [
        'detnas_mm.SinglePathSamplingHook',
        'detnas_mm.BNRecalibrationHook',
    ]
    assert hooks == (ours if is_supernet(name) else [])
    assert bool(config.get('find_unused_parameters')) == is_supernet(name)


@pytest.mark.parametrize('name', PRE_TRAINED)
def test_starts_from_what_its_pre_training_leaves(name):
    backbone = read_config(name).model.backbone
    file = Path(backbone.init_cfg.checkpoint)
    assert backbone.init_cfg.prefix == 'backbone.'
    before = read_config(pre_training(name))
    settings = before.train_cfg
    last = (
        f'epoch_{settings.max_epochs}'
        if settings.by_epoch
        else f'iter_{settings.max_iters}'
    )
    assert file.stem == last
    # The same net, or the weights would not fit.
    if not name.startswith('digits'):
        for key in ('type', 'path', 'search_space'):
            assert before.model.backbone.get(key) == backbone.get(key)


@pytest.mark.parametrize('name', SCRATCH)
def test_from_scratch_starts_from_nothing(name):
    assert 'init_cfg' not in read_config(name).model.backbone


@pytest.mark.parametrize('name', RESNETS)
def test_resnets_start_from_a_file_of_torchvision(name):
    backbone = read_config(name).model.backbone
    file = Path(backbone.init_cfg.checkpoint)
    weights = get_model_weights(f'resnet{backbone.depth}').IMAGENET1K_V1
    assert weights.url.endswith(f'/{file.name}')
    assert file.parent == Path('checkpoints')


@pytest.mark.parametrize('name', NAMES)
def test_paths_come_from_a_search(name):
    """Of the same detector and data, if the name says no other."""
    path = str(read_config(name).model.backbone.get('path', ''))
    if not path.endswith('.json'):
        return
    search = Path(path).parent.name
    assert f'{name.split("/")[0]}/{search}' in NAMES
    stem = name.split('/')[1].replace('_2x_', '_1x_')
    if 'clsnas' in stem:
        assert search == 'clsnas-search-small_8xb128_in1k'
    elif name in DETECTORS:
        expected = stem.replace('detnas-', 'detnas-search-', 1)
        if 'scratch' in stem:
            expected = stem.replace('scratch-', 'scratch-search-', 1)
            expected = expected.replace('_1x_', '_2x_')
        assert search == expected


@pytest.mark.parametrize('name', [n for n in NAMES if 'search' in n])
def test_searches_the_supernet_of_that_name(name):
    """The same but for the loop, so that its checkpoint fits."""
    search = read_config(name).to_dict()
    supernet = read_config(name.replace('search', 'supernet')).to_dict()
    assert search.pop('val_cfg')['type'] == 'detnas_mm.EvolutionSearchLoop'
    supernet.pop('val_cfg')
    if name.startswith('digits'):
        for config in (search, supernet):
            config.pop('custom_hooks')
    assert search == supernet


@pytest.mark.parametrize('name', [*DETECTORS, *names_of('detnas')])
def test_search_split_is_neither_trained_nor_reported(name):
    config = read_config(name)
    train, val, test = (
        {
            (d.get('ann_file') or d.get('split'), str(d.get('data_prefix')))
            for d in datasets(config, split)
        }
        for split in ('train', 'val', 'test')
    )
    assert not train & test
    assert not train & val
    assert 'search' not in str(train | test)
    compares = is_supernet(name) and ('_fpn_' in name or 'clsnas' in name)
    assert ('search' in str(val)) == (compares or 'digits' in name)
    if compares:
        assert not val & test


@pytest.mark.parametrize('name', COCO)
def test_metric_of_coco_reads_the_annotations_of_its_images(name):
    config = read_config(name)
    for split in ('val', 'test'):
        (dataset,) = datasets(config, split)
        file = config[f'{split}_evaluator'].ann_file
        assert file == dataset.data_root + dataset.ann_file


@pytest.mark.parametrize('name', COCO)
def test_test_split_of_coco_is_val2017(name):
    config = read_config(name)
    dataset = config.test_dataloader.dataset
    assert dataset.ann_file == 'annotations/instances_val2017.json'
    assert dataset.data_prefix.img == 'val2017/'
    if is_supernet(name):
        val = config.val_dataloader.dataset
        assert val.data_prefix.img == 'train2017/'
    else:
        train = config.train_dataloader.dataset
        assert train.ann_file == 'annotations/instances_train2017.json'
        assert config.val_dataloader == config.test_dataloader


@pytest.mark.parametrize('name', VOC)
def test_splits_of_voc(name):
    config = read_config(name)
    (test,) = datasets(config, 'test')
    assert test.ann_file == 'VOC2007/ImageSets/Main/test.txt'
    lists = {'train': 'trainval', 'val': 'test'}
    if is_supernet(name):
        lists = {'train': 'detnas_train', 'val': 'detnas_search'}
    for split, expected in lists.items():
        years = datasets(config, split)
        assert len(years) == (1 if expected == 'test' else 2)
        for year, dataset in zip(('2007', '2012'), years, strict=False):
            folder = f'VOC{year}/'
            assert dataset.data_prefix.sub_data_root == folder
            list_file = f'{folder}ImageSets/Main/{expected}.txt'
            assert dataset.ann_file == list_file
    for split in ('val', 'test'):
        evaluator = config[f'{split}_evaluator']
        assert (evaluator.type, evaluator.iou_thrs) == ('VOCMetric', 0.5)


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


@pytest.mark.parametrize('name', [*COCO, *VOC])
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


@pytest.mark.parametrize('name', [*COCO, *VOC])
def test_as_many_classes_as_the_data_have(name):
    model = read_config(name).model
    head = model.get('roi_head', model).bbox_head
    assert head.num_classes == (20 if name in VOC else 80)


@pytest.mark.parametrize('name', [n for n in DETECTORS if 'faster' in n])
def test_box_head_is_4conv1fc(models, name):
    head = models[name].roi_head.bbox_head
    assert len(head.shared_convs) == 4
    assert len(head.shared_fcs) == 1
    extractor = models[name].roi_head.bbox_roi_extractor
    assert {layer.sampling_ratio for layer in extractor.roi_layers} == {2}


@pytest.mark.parametrize('name', [n for n in NAMES if n.startswith('digits')])
def test_digits_run_on_one_process(models, name):
    assert norms(models[name], '') == {nn.BatchNorm2d}


@pytest.mark.parametrize('name', PRE_TRAINED)
def test_detector_takes_the_images_of_its_pre_training(name):
    """Same mean, deviation and order of colours, or the weights misfit."""
    classifier = read_config(pre_training(name)).data_preprocessor
    detector = read_config(name).model.data_preprocessor
    assert detector.mean == classifier.mean
    assert detector.std == classifier.std
    assert detector.bgr_to_rgb == classifier.to_rgb
    if not name.startswith('digits'):
        # BGR from 0 to 255: the first BN absorbs the scale.
        assert (detector.mean, detector.std) == ([0.0] * 3, [1.0] * 3)
        assert not detector.bgr_to_rgb


@pytest.mark.parametrize('name', RESNETS)
def test_resnets_take_the_images_of_torchvision(name):
    detector = read_config(name).model.data_preprocessor
    weights = get_model_weights('resnet50').IMAGENET1K_V1
    transforms = weights.transforms()
    assert detector.bgr_to_rgb
    for ours, theirs in (
        (detector.mean, transforms.mean),
        (detector.std, transforms.std),
    ):
        assert ours == pytest.approx([255 * value for value in theirs])


@pytest.mark.parametrize('name', [*COCO, *VOC])
def test_named_as_mmdet_does(name):
    detector, _, neck, schedule, data = name.split('/')[1].split('_')
    assert detector in ('faster-rcnn', 'retinanet')
    assert neck == 'fpn'
    assert data in ('coco', 'voc0712')
    iterations = {'coco': 90_000, 'voc0712': 22_500}[data]
    times = {'1x': 1, '2x': 2}[schedule]
    assert read_config(name).train_cfg.max_iters == iterations * times
