"""``ExactCocoMetric``: the numbers of pycocotools, to the last bit."""

import contextlib
import io
import json
from copy import deepcopy

import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detnas_mm.evaluation.coco_metric import ExactCocoMetric

SIZE = 120
ITEMS = [
    'mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l', 'AR@100', 'AR@300',
    'AR@1000', 'AR_s@1000', 'AR_m@1000', 'AR_l@1000',
]  # fmt: skip


def random_boxes(rng, count):
    """Corners on a coarse grid, ``(N, 4)``: overlaps are often equal."""
    corner = rng.integers(0, 40, (count, 2))
    # Some are empty, and some are large for COCO.
    extent = rng.integers(0, 40, (count, 2)) * rng.choice([1, 3])
    return np.concatenate((corner, corner + extent), axis=1).astype(float)


def random_masks(rng, boxes):
    """The boxes as masks with holes, ``(N, SIZE, SIZE)``."""
    masks = np.zeros((len(boxes), SIZE, SIZE), bool)
    for mask, (left, top, right, bottom) in zip(
        masks, boxes.astype(int), strict=True
    ):
        mask[top:bottom, left:right] = True
        mask[:: rng.integers(2, 9)] = False
    return masks


def encoded(mask):
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return dict(rle, counts=rle['counts'].decode())


def random_data(seed, segm=False):
    """A data set and predictions of most of its images.

    Returns:
        The content of an annotation file, the names of the classes, and the
        data samples.
    """
    rng = np.random.default_rng(seed)
    images = rng.permutation(50)[: rng.integers(1, 8)].tolist()
    categories = (rng.permutation(9)[: rng.integers(1, 5)] + 1).tolist()
    annotations, samples = [], []
    for image in images:
        boxes = random_boxes(rng, rng.choice([0, 1, 3, 12]))
        masks = random_masks(rng, boxes) if segm else [None] * len(boxes)
        for box, mask in zip(boxes, masks, strict=True):
            width, height = (box[2:] - box[:2]).tolist()
            annotation = dict(
                id=len(annotations) + 1,
                image_id=image,
                category_id=int(rng.choice(categories)),
                bbox=[*box[:2].tolist(), width, height],
                area=width * height,
                iscrowd=int(rng.random() < 0.15),
            )
            if segm:
                annotation['segmentation'] = encoded(mask)
                annotation['area'] = float(mask.sum())
            annotations.append(annotation)
        if rng.random() < 0.9:
            samples.append(random_sample(rng, image, boxes, categories, segm))
    content = dict(
        images=[dict(id=i, width=SIZE, height=SIZE) for i in images],
        categories=[dict(id=i, name=f'class{i}') for i in categories],
        annotations=annotations,
    )
    # One class may be in the file alone.
    classes = tuple(f'class{i}' for i in categories)
    return content, classes, samples


def random_sample(rng, image, boxes, categories, segm):
    """The boxes of an image, some moved, and others."""
    moved = boxes + rng.choice([0, 0, 1.5], (len(boxes), 1))
    # At times more than the 100 or 300 that count.
    count = int(rng.choice([0, 2, 10, 140, 330], p=[0.2, 0.3, 0.3, 0.1, 0.1]))
    count = min(count, 20) if segm else count
    found = np.concatenate((moved, random_boxes(rng, count)))
    found = rng.permutation(found)
    scores = rng.random(len(found))
    if rng.random() < 0.5:
        scores = scores.round(1)
    predicted = dict(
        bboxes=torch.tensor(found).float().reshape(-1, 4),
        scores=torch.tensor(scores).float(),
        labels=torch.tensor(rng.integers(len(categories), size=len(found))),
    )
    if segm:
        predicted['masks'] = torch.tensor(random_masks(rng, found))
        predicted['mask_scores'] = predicted['scores'].flip(0)
    return dict(img_id=image, ori_shape=(SIZE, SIZE), pred_instances=predicted)


def expected(content, classes, samples, kind, **params):
    """Drives pycocotools as mmdet does.

    Returns:
        The statistics and the precision of each class, or None without any
        prediction.
    """
    truth = COCO()
    truth.dataset = deepcopy(content)
    truth.createIndex()
    categories = truth.getCatIds(catNms=classes)
    found = []
    for sample in samples:
        predicted = sample['pred_instances']
        for index, label in enumerate(predicted['labels'].tolist()):
            left, top, right, bottom = predicted['bboxes'][index].tolist()
            result = dict(
                image_id=sample['img_id'],
                category_id=categories[label],
                score=float(predicted['scores'][index]),
            )
            if kind == 'segm':
                result['score'] = float(predicted['mask_scores'][index])
                mask = predicted['masks'][index].numpy()
                result['segmentation'] = encoded(mask)
            else:
                result['bbox'] = [left, top, right - left, bottom - top]
            found.append(result)
    if not found:
        return None
    iou_type = 'segm' if kind == 'segm' else 'bbox'
    evaluation = COCOeval(truth, truth.loadRes(found), iou_type)
    evaluation.params.catIds = categories
    evaluation.params.imgIds = truth.getImgIds()
    evaluation.params.maxDets = [100, 300, 1000]
    if kind == 'proposal':
        evaluation.params.useCats = 0
    for name, value in params.items():
        setattr(evaluation.params, name, value)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    by_class = evaluation.eval['precision'][:, :, :, 0, -1]
    precisions = {}
    if kind != 'proposal':
        for index, category in enumerate(sorted(categories)):
            values = by_class[:, :, index]
            values = values[values > -1]
            name = f'class{category}_precision'
            precisions[name] = values.mean() if values.size else np.nan
    return evaluation.stats, precisions


def evaluate(metric, classes, samples):
    metric.dataset_meta = dict(classes=classes)
    if type(metric) is not CocoMetric:
        assert type(metric) is ExactCocoMetric
    metric.process({}, samples)
    return metric.evaluate(len(samples))


def exact_metric(file, content, **settings):
    file.write_text(json.dumps(content))
    return ExactCocoMetric(ann_file=str(file), **settings)


def difference(file, seed, kind):
    """Returns what differs from pycocotools, in words, or None."""
    content, classes, samples = random_data(seed, segm=kind == 'segm')
    if not samples:
        return None
    metric = exact_metric(
        file, content, metric=kind, metric_items=ITEMS, classwise=True
    )
    with contextlib.redirect_stdout(io.StringIO()):
        found = evaluate(metric, classes, samples)
        wanted = expected(content, classes, samples, kind)
    if wanted is None:
        return None if found == {} else f'metrics without boxes: {found}'
    stats, wanted = wanted
    prefix = '' if kind == 'proposal' else f'{kind}_'
    wanted |= {
        prefix + item: value for item, value in zip(ITEMS, stats, strict=True)
    }
    wanted = {f'coco/{name}': value for name, value in wanted.items()}
    if found.keys() != wanted.keys():
        return f'{sorted(found)} for {sorted(wanted)}'
    wrong = [
        f'{name}: {found[name]!r} for {value!r}'
        for name, value in wanted.items()
        if not np.array_equal(found[name], value, equal_nan=True)
    ]
    return '; '.join(wrong) or None


def differences(file, seeds):
    kinds = ['bbox', 'bbox', 'proposal', 'segm']
    cases = [(seed, kinds[seed % len(kinds)]) for seed in seeds]
    found = {case: difference(file, *case) for case in cases}
    return {case: text for case, text in found.items() if text}


def test_numbers_are_pycocotools_numbers(tmp_path):
    assert not differences(tmp_path / 'truth.json', range(60))


@pytest.mark.slow
def test_numbers_are_pycocotools_numbers_in_2000_data_sets(tmp_path):
    assert not differences(tmp_path / 'truth.json', range(60, 2060))
