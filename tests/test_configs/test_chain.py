"""The configs of one step fit those of the steps before it."""

from pathlib import Path

import pytest
from kit.configs import (
    COCO,
    DETECTORS,
    DIGITS,
    NAMES,
    RESNETS,
    SCRATCH,
    VOC,
    find_config,
    for_each,
    is_supernet,
    names_of,
    read_config,
)
from torchvision.models import get_model_weights

ALL = [*NAMES, *DIGITS]


def datasets(config, split):
    """Returns the data sets of a split: one for each year of VOC."""
    dataset = config[f'{split}_dataloader'].dataset
    return dataset.get('datasets', [dataset])


@for_each([name for name in ALL if '_fpn_' in name and name not in RESNETS])
def test_detector_starts_from_the_end_of_its_pre_training(name):
    config = read_config(name)
    backbone = config.model.backbone
    if name in SCRATCH:
        assert 'init_cfg' not in backbone
        return
    file = Path(backbone.init_cfg.checkpoint)
    folders = ('digits',) if name in DIGITS else ()
    before = read_config(find_config(file.parent.name, *folders))
    assert backbone.init_cfg.prefix == 'backbone.'
    schedule = before.train_cfg
    assert file.stem == (
        f'epoch_{schedule.max_epochs}'
        if schedule.by_epoch
        else f'iter_{schedule.max_iters}'
    )
    # Other images than in the pre-training would make the weights useless.
    images, first = config.model.data_preprocessor, before.data_preprocessor
    assert (images.mean, images.std) == (first.mean, first.std)
    assert images.bgr_to_rgb == first.to_rgb
    if name not in DIGITS:
        # The weights fit the same net only.
        for key in ('type', 'path', 'search_space'):
            assert before.model.backbone.get(key) == backbone.get(key)
        # BGR from 0 to 255: the first BN absorbs the scale.
        assert (images.mean, images.std) == ([0.0] * 3, [1.0] * 3)
        assert not images.bgr_to_rgb


@for_each(RESNETS)
def test_resnets_take_weights_and_images_of_torchvision(name):
    model = read_config(name).model
    file = Path(model.backbone.init_cfg.checkpoint)
    weights = get_model_weights(f'resnet{model.backbone.depth}').IMAGENET1K_V1
    assert weights.url.endswith(f'/{file.name}')
    assert file.parent == Path('checkpoints')
    images, transforms = model.data_preprocessor, weights.transforms()
    assert images.bgr_to_rgb
    for key in ('mean', 'std'):
        values = [255 * value for value in getattr(transforms, key)]
        assert images[key] == pytest.approx(values)


@for_each(ALL)
def test_searched_path_comes_from_the_search_of_that_name(name):
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


@for_each([name for name in ALL if 'search' in name])
def test_search_differs_from_its_supernet_in_the_loop_only(name):
    """The checkpoint of the supernet fits the search."""
    search = read_config(name).to_dict()
    supernet = read_config(name.replace('search', 'supernet')).to_dict()
    assert search.pop('val_cfg')['type'] == 'detnas_mm.EvolutionSearchLoop'
    supernet.pop('val_cfg')
    if name in DIGITS:
        for config in (search, supernet):
            config.pop('custom_hooks')
    assert search == supernet


@for_each([*DETECTORS, *names_of('detnas')])
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
    assert ('search' in str(val)) == compares
    if compares:
        assert not val & test


@for_each(COCO)
def test_splits_of_coco(name):
    config = read_config(name)
    for split in ('val', 'test'):
        (dataset,) = datasets(config, split)
        file = config[f'{split}_evaluator'].ann_file
        assert file == dataset.data_root + dataset.ann_file
    test = config.test_dataloader.dataset
    assert test.ann_file == 'annotations/instances_val2017.json'
    assert test.data_prefix.img == 'val2017/'
    if is_supernet(name):
        val = config.val_dataloader.dataset
        assert val.data_prefix.img == 'train2017/'
    else:
        train = config.train_dataloader.dataset
        assert train.ann_file == 'annotations/instances_train2017.json'
        assert config.val_dataloader == config.test_dataloader


@for_each(VOC)
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


def test_splits_of_clsnasnet():
    """It is searched on training images and reported on ImageNet's val."""
    config = read_config('detnas/clsnas-search-small_8xb128_in1k')
    train, search, test = (
        config[f'{split}_dataloader'].dataset
        for split in ('train', 'val', 'test')
    )
    assert (train.split, train.ann_file) == ('train', 'meta/detnas_train.txt')
    assert search.split == 'train'
    assert search.ann_file == 'meta/detnas_search.txt'
    assert test.split == 'val'
    assert 'ann_file' not in test
    # Search images are transformed as test images are.
    assert search.pipeline == test.pipeline
    # The found net trains on all training images.
    net = read_config('detnas/clsnas-small_8xb128_in1k')
    for split in ('train', 'val'):
        dataset = net[f'{split}_dataloader'].dataset
        assert dataset.split == split
        assert 'ann_file' not in dataset
