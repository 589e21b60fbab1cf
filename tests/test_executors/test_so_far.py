"""Metrics in the middle of a validation: those of the images seen."""

import json

import numpy as np
import pytest
import torch
from kit.toy_search import ToyMetric
from mmdet.evaluation import CocoMetric
from mmengine.evaluator import Evaluator

from detnas_mm.evaluation.unrounded import unrounded
from detnas_mm.executors.so_far import evaluate_so_far

IMAGES, SEEN = 12, 5


def annotations(images):
    """Two boxes for each image, of two classes."""
    return dict(
        images=[dict(id=i, width=100, height=100) for i in images],
        categories=[dict(id=1, name='a'), dict(id=2, name='b')],
        annotations=[
            dict(
                id=2 * i + k + 1,
                image_id=i,
                category_id=k + 1,
                bbox=[10 + 30 * k, 10 + i, 20, 20],
                area=400,
                iscrowd=0,
            )
            for i in images
            for k in range(2)
        ],
    )


def sample(image):
    """The boxes of an image, the more shifted the later it comes."""
    boxes = [
        [10 + 30 * k, 10 + image, 30 + 30 * k, 30 + image] for k in (0, 1)
    ]
    return dict(
        img_id=image,
        ori_shape=(100, 100),
        pred_instances=dict(
            bboxes=torch.tensor(boxes).float() + image,
            scores=torch.tensor([0.9, 0.8 - 0.05 * image]),
            labels=torch.tensor([0, 1]),
        ),
    )


def evaluator(folder, images):
    file = folder / f'{len(images)}.json'
    file.write_text(json.dumps(annotations(images)))
    one = Evaluator(CocoMetric(ann_file=str(file)))
    one.dataset_meta = dict(classes=('a', 'b'))
    return one


def feed(one, images):
    for image in images:
        one.metrics[0].process({}, [sample(image)])


def test_part_scores_as_if_there_were_no_other_images(tmp_path):
    whole = evaluator(tmp_path, range(IMAGES))
    # In another order than that of the annotation file.
    order = np.random.default_rng(0).permutation(IMAGES).tolist()
    alone = evaluator(tmp_path, sorted(order[:SEEN]))
    feed(whole, order[:SEEN])
    feed(alone, order[:SEEN])
    with unrounded(whole.metrics):
        part = evaluate_so_far(whole, SEEN)
        assert part == alone.evaluate(SEEN)
        feed(whole, order[SEEN:])
        all_of_them = whole.evaluate(IMAGES)
        plain = evaluator(tmp_path, range(IMAGES))
        feed(plain, order)
        assert all_of_them == plain.evaluate(IMAGES)
    key = 'coco/bbox_mAP'
    assert 0.1 < all_of_them[key] < 0.9
    assert part[key] != pytest.approx(all_of_them[key], abs=0.02)


def test_metrics_without_an_annotation_file():
    one = Evaluator(ToyMetric())
    one.metrics[0].results += [0.2, 0.4]
    assert evaluate_so_far(one, 2)['toy/score'] == pytest.approx(0.3)
    one.metrics[0].results += [0.9]
    assert one.evaluate(3)['toy/score'] == pytest.approx(0.5)
