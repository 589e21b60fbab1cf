"""What is set for all configs at once, and how one stage loads another."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from kit.configs import read_config
from kit.digits_runs import CONFIGS, load_config, train_config
from kit.stand_in_runs import VOC_COUNTS, split
from kit.stand_ins import SIZE, write_coco, write_voc
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS, METRICS
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from mmengine.runner import Runner

FASTER = 'faster-rcnn_detnas-supernet-small_fpn_1x_coco'
STAGE_1 = 'digits/detnas-supernet-tiny_digits-cls'
STAGE_2 = 'digits/retinanet_detnas-supernet-tiny_fpn_digits'
VOC_SEARCH = 'detnas/faster-rcnn_detnas-search-small_fpn_1x_voc0712'


def read(name, folder='detnas'):
    """Reads a config again, as the environment may have changed."""
    return Config.fromfile(CONFIGS / folder / f'{name}.py')


def build_dataset(settings):
    scope = DefaultScope.get_instance(f'{id(settings)}', scope_name='mmdet')
    with DefaultScope.overwrite_default_scope(scope.scope_name):
        return DATASETS.build(settings)


def test_input_is_chosen_for_all_stages(monkeypatch):
    """Normalized RGB replaces BGR from 0 to 255; ResNets keep their input."""
    resnet = 'faster-rcnn_r50_fpn_1x_coco'
    before = read(resnet, 'baselines').model.data_preprocessor
    monkeypatch.setenv('DETNAS_INPUT', 'rgb')
    classifier = read('detnas-supernet-small_8xb128_in1k').data_preprocessor
    assert classifier.to_rgb
    images = [classifier]
    for name in (FASTER, 'retinanet_detnas-small_fpn_1x_voc0712'):
        images.append(read(name).model.data_preprocessor)
        assert images[-1].bgr_to_rgb
    for settings in images:
        assert settings.mean == [123.675, 116.28, 103.53]
        assert settings.std == [58.395, 57.12, 57.375]
    monkeypatch.setenv('DETNAS_INPUT', 'bgr255')
    assert read(resnet, 'baselines').model.data_preprocessor == before
    monkeypatch.setenv('DETNAS_INPUT', 'grey')
    with pytest.raises(FileNotFoundError, match='grey'):
        read(FASTER)


def test_files_of_coco_2014(monkeypatch):
    monkeypatch.setenv('DETNAS_COCO', '2014')
    files = {
        FASTER: ('detnas_train2014', 'detnas_search2014'),
        'faster-rcnn_detnas-small_fpn_1x_coco': (
            'detnas_trainval2014',
            'instances_minival2014',
        ),
    }
    for name, (train, val) in files.items():
        config = read(name)
        test = 'instances_minival2014'
        for part, file in (('train', train), ('val', val), ('test', test)):
            dataset = config[f'{part}_dataloader'].dataset
            assert dataset.ann_file == f'annotations/{file}.json'
            # Merged annotation files name the folder of each image.
            folder = 'val2014/' if file == test else ''
            assert dataset.data_prefix.img == folder
            if part != 'train':
                ann_file = config[f'{part}_evaluator'].ann_file
                assert ann_file == f'data/coco/annotations/{file}.json'


def test_images_of_coco_2014_are_found_in_both_folders(monkeypatch, tmp_path):
    counts = dict(train2014=3, valminusminival2014=3, minival2014=1)
    root = tmp_path / 'data' / 'coco'
    write_coco(root, CocoDataset.METAINFO['classes'], counts)
    # Both parts of val2014 have their images in one folder.
    (root / 'valminusminival2014').rename(root / 'val2014')
    for file in (root / 'val2014').iterdir():
        name = file.name.replace('valminusminival', 'val')
        file.rename(file.with_name(name))
    file = root / 'annotations' / 'instances_valminusminival2014.json'
    file.write_text(file.read_text().replace('valminusminival', 'val'))
    split('coco', root, '--year', 2014, '--search-images', 2)

    monkeypatch.setenv('DETNAS_COCO', '2014')
    monkeypatch.chdir(tmp_path)
    config = read('faster-rcnn_detnas-small_fpn_1x_coco')
    settings = config.train_dataloader.dataset
    settings.pipeline = settings.pipeline[:2]
    dataset = build_dataset(settings)
    items = [dataset[index] for index in range(len(dataset))]
    assert len(items) == 6
    folders = {Path(item['img_path']).parent.name for item in items}
    assert folders == {'train2014', 'val2014'}
    for item in items:
        assert item['img'].shape == (SIZE, SIZE, 3)
        assert len(item['gt_bboxes']) == 2


@pytest.fixture(scope='module')
def voc_search(tmp_path_factory):
    """Samples and meta information of the search split of VOC.

    Each image has one aeroplane and one bicycle. One aeroplane of 2007 is
    marked as difficult.
    """
    folder = tmp_path_factory.mktemp('voc')
    root = folder / 'data' / 'VOCdevkit'
    write_voc(root, ('aeroplane', 'bicycle'), VOC_COUNTS)
    split('voc', root, '--search-images', 8)
    names = (root / 'VOC2007/ImageSets/Main/detnas_search.txt').read_text()
    file = root / f'VOC2007/Annotations/{names.split()[0]}.xml'
    before, name, after = file.read_text().partition('<name>aeroplane</name>')
    after = after.replace('<difficult>0', '<difficult>1', 1)
    file.write_text(before + name + after)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        settings = deepcopy(read_config(VOC_SEARCH).val_dataloader.dataset)
        dataset = build_dataset(settings)
        items = [dataset[index]['data_samples'] for index in range(8)]
    return items, dataset.metainfo


def mean_ap(voc_search, is_found, **settings):
    """Returns mAP if the boxes with ``is_found(image, class)`` are found."""
    items, metainfo = voc_search
    config = deepcopy(read_config(VOC_SEARCH).val_evaluator)
    config.update(settings)
    metric = METRICS.build(config)
    metric.dataset_meta = metainfo
    for number, item in enumerate(items):
        truth = item.gt_instances
        found = [
            index
            for index, label in enumerate(truth.labels.tolist())
            if is_found(number, label)
        ]
        predicted = dict(
            bboxes=truth.bboxes.tensor[found],
            scores=torch.full((len(found),), 0.9),
            labels=truth.labels[found],
        )
        metric.process({}, [item.to_dict() | dict(pred_instances=predicted)])
    return metric.evaluate(size=len(items))['pascal_voc/mAP']


def test_map_of_voc_on_a_search_split_of_two_years(voc_search):
    items, _ = voc_search
    years = ['VOC2007' in item.img_path for item in items]
    assert 0 < sum(years) < len(years) == 8
    # The difficult object is neither found nor missed.
    assert sum(len(item.gt_instances) for item in items) == 15
    assert sum(len(item.ignored_instances) for item in items) == 1
    assert mean_ap(voc_search, lambda image, label: True) == pytest.approx(1)
    assert mean_ap(voc_search, lambda image, label: False) == 0

    def half_of_the_bicycles(image, label):
        return label == 0 or image % 2

    score = mean_ap(voc_search, half_of_the_bicycles)
    assert score == pytest.approx((1 + 6 / 11) / 2)
    score = mean_ap(voc_search, half_of_the_bicycles, eval_mode='area')
    assert score == pytest.approx((1 + 0.5) / 2)


def classifier(config):
    init_default_scope('mmpretrain')
    model = ConfigDict(config.model)
    model.data_preprocessor = deepcopy(config.data_preprocessor)
    return MODELS.build(model)


def test_stage_1_decays_weights_of_more_than_one_dimension(digits, tmp_path):
    """The authors' code: neither biases nor the affine part of BN."""
    paper = load_config(
        'detnas/detnas-supernet-small_8xb128_in1k', digits, tmp_path
    )
    model = classifier(paper)
    wrapper = build_optim_wrapper(model, paper.optim_wrapper)
    decay = {
        id(param): group['weight_decay']
        for group in wrapper.optimizer.param_groups
        for param in group['params']
    }
    params = list(model.parameters())
    assert decay.keys() == {id(param) for param in params}
    for param in params:
        assert decay[id(param)] == (4e-5 if param.ndim > 1 else 0)


def test_stage_2_starts_from_all_weights_of_stage_1(digits, tmp_path):
    weights = classifier(load_config(STAGE_1, digits, tmp_path)).state_dict()
    config = train_config(STAGE_2, digits, tmp_path / 'stage_2')
    file = tmp_path / 'stage_1.pth'
    config.model.backbone.init_cfg.checkpoint = str(file)
    torch.save(dict(state_dict=weights), file)
    runner = Runner.from_cfg(config)
    runner._init_model_weights()
    for key, value in runner.model.backbone.state_dict().items():
        assert torch.equal(value, weights[f'backbone.{key}'])
    # MMEngine would load what fits and start the rest from random weights.
    weights.pop('backbone.blocks.3.2.main.1.weight')
    torch.save(dict(state_dict=weights), file)
    config.experiment_name = config.visualizer.name = 'stage_2_again'
    with pytest.raises(ValueError, match=r'1 missing: blocks\.3\.2\.main\.1'):
        Runner.from_cfg(config)._init_model_weights()
