"""VOC's mAP on the search split, which is spread over two years."""

from copy import deepcopy

import pytest
import torch
from kit.configs import read_config
from kit.stand_in_runs import split
from kit.stand_ins import write_voc
from mmdet.registry import DATASETS, METRICS
from mmengine.registry import DefaultScope

SEARCH = 'detnas/faster-rcnn_detnas-search-small_fpn_1x_voc0712'
COUNTS = {
    ('2007', 'trainval'): 6,
    ('2012', 'trainval'): 8,
    ('2007', 'test'): 2,
}
CLASSES = ('aeroplane', 'bicycle')


@pytest.fixture(scope='module')
def samples(tmp_path_factory):
    """Samples and meta information of the search split of the config.

    Each image has one aeroplane and one bicycle; an aeroplane of 2007 is
    marked as difficult.
    """
    folder = tmp_path_factory.mktemp('voc')
    root = folder / 'data' / 'VOCdevkit'
    write_voc(root, CLASSES, COUNTS)
    split('voc', root, '--search-images', 8)
    names = (root / 'VOC2007/ImageSets/Main/detnas_search.txt').read_text()
    file = root / f'VOC2007/Annotations/{names.split()[0]}.xml'
    text = file.read_text()
    before, mark, after = text.partition('<name>aeroplane</name>')
    after = after.replace('<difficult>0', '<difficult>1', 1)
    file.write_text(before + mark + after)
    scope = DefaultScope.get_instance('voc_test', scope_name='mmdet')
    with (
        pytest.MonkeyPatch.context() as patch,
        DefaultScope.overwrite_default_scope(scope.scope_name),
    ):
        patch.chdir(folder)
        dataset = DATASETS.build(
            deepcopy(read_config(SEARCH).val_dataloader.dataset)
        )
        items = [dataset[index]['data_samples'] for index in range(8)]
    return items, dataset.metainfo


def mean_ap(samples, found, **settings):
    """mAP when the boxes are found for which ``found(image, class)``."""
    items, metainfo = samples
    config = deepcopy(read_config(SEARCH).val_evaluator)
    config.update(settings)
    metric = METRICS.build(config)
    metric.dataset_meta = metainfo
    for number, item in enumerate(items):
        truth = item.gt_instances
        kept = [
            index
            for index, label in enumerate(truth.labels.tolist())
            if found(number, label)
        ]
        predicted = dict(
            bboxes=truth.bboxes.tensor[kept],
            scores=torch.full((len(kept),), 0.9),
            labels=truth.labels[kept],
        )
        sample = item.to_dict()
        sample['pred_instances'] = predicted
        metric.process({}, [sample])
    return metric.evaluate(size=len(items))['pascal_voc/mAP']


def test_search_split_is_of_both_years(samples):
    items, _ = samples
    years = ['VOC2007' in item.img_path for item in items]
    assert 0 < sum(years) < len(years) == 8


def test_all_found(samples):
    assert mean_ap(samples, lambda image, label: True) == pytest.approx(1)


def test_nothing_found(samples):
    assert mean_ap(samples, lambda image, label: False) == 0


def test_a_difficult_object_counts_neither_as_found_nor_as_missed(samples):
    """It is an ignored instance; those of mmdet are no ground truth."""
    items, _ = samples
    assert sum(len(item.gt_instances) for item in items) == 15
    assert sum(len(item.ignored_instances) for item in items) == 1


@pytest.mark.parametrize(
    ('eval_mode', 'expected'), [('11points', 6 / 11), ('area', 0.5)]
)
def test_metric_of_2007_or_area_under_the_curve(samples, eval_mode, expected):
    """Half of the bicycles found, at precision 1; all aeroplanes."""
    settings = {} if eval_mode == '11points' else dict(eval_mode=eval_mode)
    score = mean_ap(
        samples, lambda image, label: label == 0 or image % 2, **settings
    )
    assert score == pytest.approx((1 + expected) / 2)
