"""What is chosen in one place for all configs: input and files of COCO."""

from pathlib import Path

import pytest
from kit.digits_runs import CONFIGS
from kit.stand_in_runs import split
from kit.stand_ins import SIZE, write_coco
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import DefaultScope

FASTER = 'faster-rcnn_detnas-supernet-small_fpn_1x_coco'


def read(name):
    return Config.fromfile(CONFIGS / 'detnas' / f'{name}.py')


@pytest.mark.parametrize(
    'name', [FASTER, 'retinanet_detnas-small_fpn_1x_voc0712']
)
def test_input_is_chosen_for_all_stages(monkeypatch, name):
    """Normalised RGB in place of BGR from 0 to 255."""
    monkeypatch.setenv('DETNAS_INPUT', 'rgb')
    detector = read(name).model.data_preprocessor
    classifier = read('detnas-supernet-small_8xb128_in1k').data_preprocessor
    for one in (detector, classifier):
        assert one.mean == [123.675, 116.28, 103.53]
        assert one.std == [58.395, 57.12, 57.375]
    assert detector.bgr_to_rgb
    assert classifier.to_rgb


def test_an_unknown_input_is_an_error(monkeypatch):
    monkeypatch.setenv('DETNAS_INPUT', 'grey')
    with pytest.raises(FileNotFoundError, match='grey'):
        read(FASTER)


def test_resnets_keep_their_input(monkeypatch):
    config = CONFIGS / 'baselines' / 'faster-rcnn_r50_fpn_1x_coco.py'
    before = Config.fromfile(config).model.data_preprocessor
    monkeypatch.setenv('DETNAS_INPUT', 'bgr255')
    assert Config.fromfile(config).model.data_preprocessor == before


@pytest.mark.parametrize(
    'name', [FASTER, 'faster-rcnn_detnas-small_fpn_1x_coco']
)
def test_files_of_coco_2014(monkeypatch, name):
    monkeypatch.setenv('DETNAS_COCO', '2014')
    config = read(name)
    folder = 'annotations/'
    if 'supernet' in name:
        train, val = 'detnas_train2014', 'detnas_search2014'
    else:
        train, val = 'detnas_trainval2014', 'instances_minival2014'
    test = 'instances_minival2014'
    for part, file in (('train', train), ('val', val), ('test', test)):
        dataset = config[f'{part}_dataloader'].dataset
        assert dataset.ann_file == f'{folder}{file}.json'
        # Names of merged files have the folder of each image.
        image_folder = 'val2014/' if file == test else ''
        assert dataset.data_prefix.img == image_folder
        if part != 'train':
            ann_file = config[f'{part}_evaluator'].ann_file
            assert ann_file == f'data/coco/{folder}{file}.json'


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
    scope = DefaultScope.get_instance('coco_test', scope_name='mmdet')
    with DefaultScope.overwrite_default_scope(scope.scope_name):
        settings = config.train_dataloader.dataset
        settings.pipeline = settings.pipeline[:2]
        dataset = DATASETS.build(settings)
        items = [dataset[index] for index in range(len(dataset))]
    assert len(items) == 6
    folders = [Path(item['img_path']).parent.name for item in items]
    assert sorted(set(folders)) == ['train2014', 'val2014']
    for item in items:
        assert item['img'].shape == (SIZE, SIZE, 3)
        assert len(item['gt_bboxes']) == 2
