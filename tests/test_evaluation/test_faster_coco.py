"""CocoMetric by a shorter way: the same numbers as by the long one."""

import json
import sys

import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric
from mmdet.evaluation.metrics import coco_metric
from pycocotools.cocoeval import COCOeval

from detnas_mm.evaluation.faster_coco import faster_coco
from detnas_mm.evaluation.unrounded import unrounded

NUM_IMAGES, NUM_CLASSES = 30, 4
CLASSES = tuple(f'class{number}' for number in range(NUM_CLASSES))
FASTER = 'faster_coco_eval.core.faster_eval_api'


def random_boxes(rng, count):
    """Corners of boxes of all of COCO's sizes, ``(N, 4)``."""
    corner = rng.uniform(0, 200, (count, 2))
    extent = rng.uniform(8, 60, (count, 2)) * rng.choice([0.5, 1, 4], count)[
        :, None
    ]  # fmt: skip
    return np.concatenate((corner, corner + extent), axis=1)


def truth(rng):
    """Images with up to six boxes, some of them crowds."""
    annotations = []
    for image in range(NUM_IMAGES):
        for box in random_boxes(rng, rng.integers(0, 7)):
            width, height = box[2:] - box[:2]
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image,
                    category_id=int(rng.integers(NUM_CLASSES)) + 1,
                    bbox=[*box[:2], width, height],
                    area=width * height,
                    iscrowd=int(rng.random() < 0.1),
                )
            )
    return dict(
        images=[dict(id=i, width=500, height=500) for i in range(NUM_IMAGES)],
        categories=[
            dict(id=number + 1, name=name)
            for number, name in enumerate(CLASSES)
        ],
        annotations=annotations,
    )


def predictions(rng, image, annotations):
    """The image's boxes, moved a little, and wrong ones."""
    own = [one for one in annotations if one['image_id'] == image]
    x, y, width, height = np.array([one['bbox'] for one in own]).reshape(
        -1, 4
    ).T  # fmt: skip
    boxes = np.stack((x, y, x + width, y + height), axis=1)
    boxes = boxes + rng.normal(0, 3, boxes.shape)
    labels = [one['category_id'] - 1 for one in own]
    # Of one image more than the 100 that count.
    wrong = 140 if image == 3 else len(own) + 1
    labels += rng.integers(NUM_CLASSES, size=wrong).tolist()
    boxes = np.concatenate((boxes, random_boxes(rng, wrong)))
    # Some scores are equal.
    scores = rng.integers(1, 20, len(boxes)) / 20
    scores[len(own) :] += image == 3
    return dict(
        bboxes=torch.tensor(boxes).float(),
        scores=torch.tensor(scores).float(),
        labels=torch.tensor(labels),
    )


@pytest.fixture
def metric(tmp_path):
    """Makes a metric that has seen all images; each time the same."""
    file = tmp_path / 'annotations.json'

    def make(**settings):
        rng = np.random.default_rng(3)
        content = truth(rng)
        file.write_text(json.dumps(content))
        metric = CocoMetric(ann_file=str(file), **settings)
        metric.dataset_meta = dict(classes=CLASSES)
        for image in range(NUM_IMAGES):
            sample = dict(
                img_id=image,
                ori_shape=(500, 500),
                pred_instances=predictions(rng, image, content['annotations']),
            )
            metric.process({}, [sample])
        return metric

    return make


def evaluate(metric):
    with unrounded([metric]):
        return metric.evaluate(NUM_IMAGES)


def evaluate_faster(metric):
    with faster_coco([metric]):
        return evaluate(metric)


SETTINGS = [
    dict(metric='bbox'),
    dict(metric='bbox', classwise=True),
    dict(metric=['bbox', 'proposal']),
    dict(iou_thrs=np.array([0.5, 0.75]), proposal_nums=(3, 10, 100)),
]


@pytest.mark.parametrize('settings', SETTINGS)
@pytest.mark.parametrize('installed', [True, False])
def test_numbers_are_those_of_pycocotools(
    metric, monkeypatch, settings, installed
):
    if installed:
        pytest.importorskip('faster_coco_eval')
    else:
        monkeypatch.setitem(sys.modules, FASTER, None)
    fast = evaluate_faster(metric(**settings))
    slow = evaluate(metric(**settings))
    assert fast.keys() == slow.keys()
    numbers = {k: v for k, v in slow.items() if not isinstance(v, str)}
    assert len(set(numbers.values())) > 1
    for key, value in numbers.items():
        assert fast[key] == pytest.approx(value, abs=1e-9, nan_ok=True)


def test_evaluation_is_in_cpp_inside_the_block_only(metric, monkeypatch):
    pytest.importorskip('faster_coco_eval')
    one = metric()
    monkeypatch.setattr(COCOeval, 'evaluate', None)
    assert evaluate_faster(one)
    with pytest.raises(TypeError):
        evaluate(metric())


def test_predictions_stay_in_memory(metric, monkeypatch):
    one, other = metric(), metric()
    monkeypatch.setattr(coco_metric, 'dump', None)
    assert evaluate_faster(one)
    with pytest.raises(TypeError):
        evaluate(other)


def test_files_that_the_user_wants_are_written(metric, tmp_path):
    evaluate_faster(metric(outfile_prefix=str(tmp_path / 'results')))
    assert json.loads((tmp_path / 'results.bbox.json').read_text())


def test_ground_truth_without_a_file_is_still_written_to_one(metric):
    """``CocoMetric`` makes one of what the data set gives."""
    made = metric()
    results = [
        (dict(gt, anns=[]), prediction) for gt, prediction in made.results
    ]
    results[0][0]['anns'] = [
        dict(bbox=[0, 0, 50, 50], bbox_label=1, ignore_flag=0)
    ]
    scores = []
    for way in (evaluate, evaluate_faster):
        metric = CocoMetric(metric='bbox')
        metric.dataset_meta = dict(classes=CLASSES)
        metric.results = list(results)
        scores.append(way(metric))
    assert scores[0] == pytest.approx(scores[1], abs=1e-9)


def test_other_metrics_are_not_concerned(monkeypatch):
    monkeypatch.delitem(sys.modules, coco_metric.__name__)
    with faster_coco([]):
        pass
