"""What a config starts from and which images it sees fit the others."""

from pathlib import Path

import pytest
from kit.configs import (
    COCO,
    DETECTORS,
    NAMES,
    RESNETS,
    SCRATCH,
    VOC,
    find_config,
    is_supernet,
    names_of,
    read_config,
)
from torchvision.models import get_model_weights

DIGITS = names_of('digits')
ALL = [*NAMES, *DIGITS]
PRE_TRAINED = [
    name
    for name in ALL
    if '_fpn_' in name and name not in (*RESNETS, *SCRATCH)
]


def datasets(config, split):
    """The data sets of a split: one for each year of VOC."""
    dataset = config[f'{split}_dataloader'].dataset
    return dataset.get('datasets', [dataset])


def pre_training(name):
    """The config whose weights a detector starts from."""
    file = Path(read_config(name).model.backbone.init_cfg.checkpoint)
    folders = ('digits',) if name in DIGITS else ()
    return find_config(file.parent.name, *folders)


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


@pytest.mark.parametrize('name', ALL)
def test_paths_come_from_a_search(name):
    """Of the same detector and data, if the name says no other."""
    path = str(read_config(name).model.backbone.get('path', ''))
    if not path.endswith('.json'):
        return
    search = Path(path).parent.name
    assert f'{name.split("/")[0]}/{search}' in ALL
    stem = name.split('/')[1].replace('_2x_', '_1x_')
    if 'clsnas' in stem:
        assert search == 'clsnas-search-small_8xb128_in1k'
    elif '_fpn_' in name:
        expected = stem.replace('detnas-', 'detnas-search-', 1)
        if 'scratch' in stem:
            expected = stem.replace('scratch-', 'scratch-search-', 1)
            expected = expected.replace('_1x_', '_2x_')
        assert search == expected


@pytest.mark.parametrize('name', [n for n in ALL if 'search' in n])
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
