"""What is wrong in a config is found before a Runner is built."""

import json
import re
from pathlib import Path

import pytest
from kit.configs import read_config
from mmdet.datasets import CocoDataset, ConcatDataset
from mmdet.evaluation import MultiDatasetsEvaluator
from mmdet.registry import DATASETS, METRICS
from mmengine.config import Config
from mmengine.dataset import InfiniteSampler
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from torch.utils.data import BatchSampler, DataLoader

from detnas_mm.engine.checks import (
    require_batches,
    require_inputs,
    require_known_metrics,
    require_pretrained,
    require_same_images,
)
from detnas_mm.engine.data_checks import list_problems
from detnas_mm.engine.search.header import scoring_text
from detnas_mm.engine.search.settings import SearchSettings
from detnas_mm.evaluation import use_exact_metrics
from detnas_mm.models import DetNASNet
from detnas_mm.utils.errors import InputError

NET = 'digits/retinanet_detnas-tiny_fpn_digits'
PARTS = ('train', 'val')
CLASSES = tuple('0123456789')
BOXES = 'annotations'


@pytest.fixture
def config(tmp_path):
    """A detector of a path, with data sets without images."""
    config = Config(read_config(NET).to_dict())
    config.model.backbone.update(path='0123012301', init_cfg=None)
    root = tmp_path / 'digits'
    (root / 'annotations').mkdir(parents=True)
    content = dict(
        images=[],
        annotations=[],
        categories=[dict(id=i, name=name) for i, name in enumerate(CLASSES)],
    )
    for part in ('train', 'search', 'test'):
        (root / part).mkdir()
        file = root / 'annotations' / f'instances_{part}.json'
        file.write_text(json.dumps(content))
    for part, split in (('train', 'train'), ('val', 'test')):
        dataset = config[f'{part}_dataloader'].dataset
        dataset.data_root = f'{root}/'
        dataset.ann_file = f'annotations/instances_{split}.json'
        dataset.data_prefix = dict(img=f'{split}/')
    config.val_evaluator.ann_file = f'{root}/annotations/instances_test.json'
    return config


def line_of(config):
    with pytest.raises(InputError) as caught:
        require_pretrained(require_inputs(config, PARTS), config)
    line = str(caught.value)
    assert '\n' not in line
    return line


def test_right_config_passes_unchanged(config):
    before = config.to_dict()
    model = require_inputs(config, PARTS)
    # MMDetection writes into the settings of a detector. They define a
    # search, so a checked one would differ from an unchecked one.
    assert config.to_dict() == before
    require_pretrained(model, config)
    assert model.backbone.path == (0, 1, 2, 3, 0, 1, 2, 3, 0, 1)
    # What is not needed may be missing.
    config.test_dataloader.dataset.data_root = 'nowhere/'
    require_inputs(config, PARTS)


@pytest.mark.parametrize(
    ('settings', 'part'),
    [
        (dict(path='012'), 'has 10 digits'),
        (dict(search_space='tinny'), 'small, large'),
        (dict(init_cfg=dict(type='Pretrained', checkpoint='x')), 'at x'),
    ],
)
def test_backbone(config, settings, part):
    config.model.backbone.update(settings)
    assert part in line_of(config)


def test_missing_file_is_named_with_its_converter(config, tmp_path):
    root = tmp_path / 'digits'
    (root / 'test').rmdir()
    assert f'no such file or folder: {root}/test/' in line_of(config)
    (root / 'annotations' / 'instances_train.json').unlink()
    line = line_of(config)
    assert 'annotations/instances_train.json' in line
    assert 'digits.py --out data/digits`' in line
    dataset = config.train_dataloader.dataset
    config.train_dataloader.dataset = dict(
        type='RepeatDataset', times=2, dataset=dataset
    )
    assert line_of(config) == line
    dataset.ann_file = 's3://bucket/instances_train.json'
    dataset.data_root = ''
    dataset.data_prefix = dict(img='')
    assert f'{root}/test/' in line_of(config)


def test_missing_data_are_named_with_their_setting(config, tmp_path):
    key = 'train_dataloader.dataset'
    dataset = config.train_dataloader.dataset
    root = tmp_path / 'digits'
    dataset.data_prefix.img = 'photos/'
    assert f'{root}/photos/; set {key}.data_prefix.img ' in line_of(config)
    dataset.ann_file = 'boxes.json'
    assert f'{root}/boxes.json; set {key}.ann_file ' in line_of(config)
    dataset.data_root = f'{root}_elsewhere/'
    config.train_dataloader.dataset = dict(
        type='ConcatDataset',
        datasets=[dict(type='RepeatDataset', times=1, dataset=dataset)],
    )
    key = f'{key}.datasets.0.dataset.data_root'
    line = line_of(config)
    assert f'set {key} ' in line
    # The command line takes this key.
    config.merge_from_dict({key: str(tmp_path)})
    assert line_of(config) != line
    config.train_dataloader.dataset = config.test_dataloader.dataset
    config.val_evaluator.ann_file = 'nowhere/boxes.json'
    config.train_dataloader = {}
    assert 'set val_evaluator.ann_file ' in line_of(config)


def test_remote_data_are_not_looked_for_on_the_disk(config):
    config.train_dataloader.dataset.update(
        data_root='data/coco/',
        backend_args=dict(
            backend='petrel', path_mapping={'data/': 's3://bucket/'}
        ),
    )
    require_inputs(config, PARTS)


def test_missing_checkpoint(config):
    config.load_from = 'work_dirs/nothing.pth'
    assert 'no checkpoint at work_dirs/nothing.pth' in line_of(config)
    config.load_from = 'https://example.org/net.pth'
    require_inputs(config, PARTS)


def test_config_without_a_model(config):
    config.pop('model')
    assert 'best_backbone.py' in line_of(config)


@pytest.mark.parametrize('content', ['boxes', '[]', '{"categories": [1]}'])
def test_annotations_in_another_format(config, tmp_path, content):
    file = tmp_path / 'digits/annotations/instances_test.json'
    file.write_text(content)
    assert line_of(config).startswith(f'{file}')


def test_head_with_fewer_outputs_than_classes(config):
    config.model.bbox_head.num_classes = 3
    assert line_of(config) == (
        '`train_dataloader.dataset` has 10 classes, but a bbox_head of the '
        'model has num_classes=3: set it to 10, or `train_dataloader.dataset.'
        'metainfo.classes` to those of your data (and 1 more: list all by '
        '`python tools/misc/check_data.py CONFIG`)'
    )
    # A head may have been trained for more.
    config.model.bbox_head.num_classes = 80
    require_inputs(config, PARTS)


def test_types_may_be_classes(config):
    """As in MMEngine's configs in pure Python syntax."""
    config.model.backbone.type = DetNASNet
    config.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='x')
    assert 'at x' in line_of(config)
    config.model.backbone.init_cfg = None
    dataset = config.train_dataloader.dataset
    dataset.type = CocoDataset
    require_inputs(config, PARTS)
    dataset.metainfo = dict(classes=('cat',))
    assert "'cat' is not among" in line_of(config)


def test_classes_that_the_annotation_file_does_not_have(config):
    dataset = config.train_dataloader.dataset
    dataset.metainfo = dict(classes=('cat', '0'))
    line = line_of(config)
    assert '`train_dataloader.dataset`' in line
    assert "'cat' is not among its categories, '0', '1'" in line
    assert "'4' and 5 more" in line
    # The default is the classes of COCO.
    del dataset['metainfo']
    assert "'person' is not among" in line_of(config)


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        (
            CLASSES[::-1],
            "has the classes '9', '8'.*`train_data.* has '0', '1'",
        ),
        (CLASSES[:-1], "has the classes '0', '1', .* and 4 more, but"),
        ((*CLASSES[:-1], '0'), "has the name '0', expected texts, each once"),
        ((*CLASSES[:-1], 9), 'has the name 9, expected texts'),
    ],
)
def test_other_classes_than_in_training_are_refused(config, classes, message):
    """A label is a place in the list: all scores would be wrong."""
    config.val_dataloader.dataset.metainfo = dict(classes=classes)
    assert re.search(message, line_of(config))


def test_channels_that_the_backbone_does_not_have(config):
    """A common slip after a change of the search space."""
    config.model.neck.in_channels = [64, 160, 320, 640]
    assert line_of(config) == (
        '`model.neck.in_channels` is [64, 160, 320, 640], but the backbone '
        'has [32, 64, 128, 256] output channels: set it to these'
    )
    # The neck of YOLOv3 lists them in reverse.
    config.model.neck.in_channels = [256, 128, 64, 32]
    require_inputs(config, PARTS)
    config.model.neck.in_channels = [64, 128, 256]
    config.model.neck.num_outs = 4
    config.model.backbone.out_indices = (1, 2, 3)
    require_inputs(config, PARTS)


@pytest.mark.parametrize(
    ('metric', 'evaluator', 'is_known'),
    [
        ('coco/bbox_mAP_s', {}, True),
        ('coco/bbox_map', {}, False),
        ('coco/segm_mAP', {}, False),
        ('coco/segm_mAP', dict(metric=['bbox', 'segm']), True),
        ('coco/AR@100', dict(metric=['bbox', 'proposal_fast']), True),
        ('coco/cat_precision', dict(classwise=True), True),
        ('own/bbox_mAP', dict(prefix='own'), True),
    ],
)
def test_metrics_of_coco_are_known_before(metric, evaluator, is_known):
    """Metrics that cannot be known before pass."""
    built = Evaluator([METRICS.build(dict(type='CocoMetric') | evaluator)])
    # As in a search.
    use_exact_metrics(built)
    settings = SearchSettings(metric=metric)
    if is_known:
        require_known_metrics(built, settings)
        return
    with pytest.raises(InputError, match='choose one of coco/bbox_mAP, '):
        require_known_metrics(built, settings)


def read_val(config):
    return json.loads(Path(config.val_evaluator.ann_file).read_text())


@pytest.fixture
def boxes(config, tmp_path):
    """Writes annotations with two images for the validation."""
    config.work_dir = str(tmp_path / 'work')

    def write(change=lambda content: None):
        content = read_val(config) | dict(
            images=[
                dict(id=i, file_name=f'{i}.png', width=9, height=9)
                for i in (1, 2)
            ],
            annotations=[
                dict(id=i, image_id=1, category_id=i, bbox=[0, 0, 3, 3])
                | dict(area=9, iscrowd=0)
                for i in (1, 2)
            ],
        )
        change(content)
        Path(config.val_evaluator.ann_file).write_text(json.dumps(content))

    write()
    return write


SETTINGS = SearchSettings(metric='coco/bbox_mAP')


def test_annotations_are_corrected_in_a_copy(config, boxes):
    def reverse(content):
        content['categories'].reverse()
        content['annotations'][0].update(id=0, area=None)

    boxes(reverse)
    file, setting = config.val_evaluator.ann_file, config.val_dataloader
    setting = setting.dataset.ann_file
    before = scoring_text(config, SETTINGS)
    require_inputs(config, PARTS)
    copy = config.val_evaluator.ann_file
    assert Path(copy).parent == Path(config.work_dir, 'annotations')
    assert config.val_dataloader.dataset.ann_file == copy
    content = read_val(config)
    assert [c['name'] for c in content['categories']] == list(CLASSES)
    assert [a['id'] for a in content['annotations']] == [1, 2]
    assert [a['area'] for a in content['annotations']] == [9, 9]
    # The search is still the same one.
    assert scoring_text(config, SETTINGS) == before
    assert config.original_data.val_dataloader.dataset.ann_file == setting
    # A second command finds the same copy.
    config.val_evaluator.ann_file = file
    require_inputs(config, PARTS)
    assert config.val_evaluator.ann_file == copy
    assert len(list(Path(copy).parent.iterdir())) == 1


def test_wrong_annotation_of_either_setting(config, boxes):
    def cut(content):
        content['annotations'][1]['bbox'] = [1, 2]

    boxes(cut)
    expected = 'annotation 2: `bbox` is [1, 2], expected four'
    assert expected in line_of(config)
    config.val_dataloader.dataset = config.train_dataloader.dataset
    assert expected in line_of(config)


def test_all_problems_are_counted_and_nothing_is_changed(config, boxes):
    def spoil(content):
        content['annotations'][0]['bbox'] = None
        content['images'][1]['width'] = 0

    boxes(spoil)
    before = config.to_dict()
    assert '(and 1 more: list all by `python tools/misc/' in line_of(config)
    assert config.to_dict() == before
    problems, _ = list_problems(config, PARTS)
    assert [part for part, _ in problems] == ['val', 'val']
    # The copy lacks what is refused.
    assert len(read_val(config)['annotations']) == 1


@pytest.mark.parametrize('classes', ['red', 'cat,dog'])
def test_classes_that_are_one_text(config, tmp_path, classes):
    """mmdet takes it for letters."""
    for part in PARTS:
        dataset = config[f'{part}_dataloader'].dataset
        dataset.metainfo = dict(classes=classes)
    assert f'is the text {classes!r}, expected a list' in line_of(config)
    file = tmp_path / 'classes.txt'
    file.write_text('\n'.join(CLASSES))
    for part in PARTS:
        dataset = config[f'{part}_dataloader'].dataset
        dataset.metainfo = dict(classes=str(file))
    require_inputs(config, PARTS)


def test_classes_that_the_file_of_the_metric_does_not_have(config, tmp_path):
    content = read_val(config)
    content['categories'].pop(3)
    file = tmp_path / 'other.json'
    file.write_text(json.dumps(content))
    config.val_evaluator.ann_file = str(file)
    line = line_of(config)
    assert f"{file}: '3' is not among its categories" in line


def test_metric_of_another_class_gets_the_copy_as_well(config, boxes):
    """Else it would not know the ids of the images."""
    boxes(lambda content: content['images'][1].update(id='a'))
    config.val_evaluator.type = 'OwnMetric'
    require_inputs(config, PARTS)
    copied = config.val_dataloader.dataset.ann_file
    assert config.val_evaluator.ann_file == copied
    assert type(read_val(config)['images'][1]['id']) is int


def warnings_of(config, caplog):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        require_inputs(config, PARTS)
    finally:
        logger.removeHandler(caplog.handler)
    return ' '.join(record.getMessage() for record in caplog.records)


def voc(config, tmp_path, val='b\nc\n'):
    """Data sets of VOC, each of two images with one object."""
    for name in 'abc':
        (tmp_path / 'Annotations').mkdir(exist_ok=True)
        (tmp_path / f'Annotations/{name}.xml').write_text(
            '<a><object><name>1</name><bndbox><xmin>1</xmin><ymin>1</ymin>'
            '<xmax>2</xmax><ymax>2</ymax></bndbox></object></a>'
        )
    for part, names in (('train', 'a\nb\n'), ('val', val)):
        (tmp_path / f'{part}.txt').write_text(names)
        config[f'{part}_dataloader'].dataset = dict(
            type='XMLDataset',
            metainfo=dict(classes=CLASSES),
            data_root=str(tmp_path),
            ann_file=f'{part}.txt',
            data_prefix=dict(sub_data_root=''),
        )
    config.val_evaluator = dict(type='VOCMetric')
    config.work_dir = str(tmp_path / 'work')


def test_lists_of_voc(config, tmp_path, caplog):
    voc(config, tmp_path)
    text = warnings_of(config, caplog)
    assert 'share 1 images' in text
    assert f'{tmp_path}/JPEGImages/b.jpg' in text
    voc(config, tmp_path, val='b\n\nc\nb\nd\n')
    line = line_of(config)
    assert "val.txt: line 2 is ''" in line
    assert '(and 2 more' in line
    list_problems(config, PARTS)
    copied = Path(config.val_dataloader.dataset.ann_file)
    assert copied.read_text().split() == ['b', 'c']


def test_remote_annotations_are_not_checked(config, caplog):
    file = 's3://bucket/instances_train.json'
    config.train_dataloader.dataset.update(
        ann_file=file, data_root='', data_prefix=dict(img='')
    )
    assert f'{file} is not checked' in warnings_of(config, caplog)


def test_class_of_a_user_is_checked_as_its_parent(config, boxes):
    class Own(CocoDataset):
        METAINFO = dict(classes=CLASSES)

    config.val_dataloader.dataset.type = Own
    boxes(lambda content: content['images'][0].pop('height'))
    config.val_evaluator = {}
    assert 'image 1: `height` is None' in line_of(config)


@pytest.mark.parametrize(
    ('change', 'problem'),
    [
        ({}, None),
        (dict(indices=1), 'has 2, 1 are read; image 2, 2.png, is only on'),
        (dict(other=lambda c: c['images'].pop()), '1, 2 are read; image 2'),
        (
            dict(other=lambda c: c['images'][0].update(file_name='b.png')),
            'image 1, 1.png, is only on one side',
        ),
        (dict(times=2), 'has 2, 4 are read; an image is read twice'),
        # Another split whose images have the same ids and names.
        (
            dict(other=lambda c: [a['bbox'].reverse() for a in c[BOXES]]),
            'it lacks 2 boxes that are read',
        ),
    ],
)
def test_images_of_loader_and_metric(config, boxes, tmp_path, change, problem):
    settings = config.val_dataloader.dataset
    settings.indices = change.get('indices')
    dataset = DATASETS.build(settings)
    if 'times' in change:
        dataset = ConcatDataset([dataset] * change['times'])
    boxes(change.get('other', lambda content: None))
    metric = METRICS.build(config.val_evaluator)
    if problem is None:
        require_same_images(dataset, Evaluator([metric]))
        # Without a file the loader is the truth.
        none = METRICS.build(dict(type='CocoMetric'))
        require_same_images(dataset, Evaluator([none]))
        return
    with pytest.raises(InputError) as error:
        require_same_images(dataset, Evaluator([metric]))
    assert problem in str(error.value)


def test_metrics_of_several_data_sets_have_prefixes():
    metrics = [METRICS.build(dict(type='CocoMetric')) for _ in range(2)]
    evaluator = MultiDatasetsEvaluator(metrics, ['a', 'b'])
    for name in ('a/coco/bbox_mAP', 'b/coco/bbox_mAP_50'):
        require_known_metrics(evaluator, SearchSettings(metric=name))
    with pytest.raises(InputError, match='a/coco/bbox_mAP, '):
        require_known_metrics(
            evaluator, SearchSettings(metric='coco/bbox_mAP')
        )


def test_metric_that_only_writes_files():
    metric = METRICS.build(
        dict(type='CocoMetric', format_only=True, outfile_prefix='x')
    )
    settings = SearchSettings(metric='coco/bbox_mAP')
    with pytest.raises(InputError, match='format_only'):
        require_known_metrics(Evaluator([metric]), settings)


def test_images_that_drop_last_drops():
    def loader(size, drop_last=True, sampler=None):
        return DataLoader(range(8), size, None, sampler, drop_last=drop_last)

    endless = InfiniteSampler(range(8))
    for accepted in (loader(4), loader(9, False), loader(9, True, endless)):
        require_batches(accepted, 'val_dataloader', all_images=True)
    require_batches(loader(3), 'train_dataloader')
    # As mmdet's AspectRatioBatchSampler has it.
    batches = BatchSampler(range(8), 3, drop_last=True)
    with pytest.raises(InputError, match='the last 2 would not be read'):
        require_batches(DataLoader(range(8), batch_sampler=batches), 'x', True)
    for size, all_images in ((3, True), (9, True), (9, False)):
        with pytest.raises(InputError, match='drop_last=True'):
            require_batches(loader(size), 'x_dataloader', all_images)
