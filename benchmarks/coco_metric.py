"""Measure mmdet's ``CocoMetric`` and the metric that a search uses.

Both get random predictions of the size of a search split. The process uses
one thread. All numbers must be equal before mmdet rounds them.
"""

import argparse
import contextlib
import io
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from measuring import add_json_option, report

from detnas_mm.utils.cli import run_command

SIZE = 640
CLASSES = 80


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=2500)
    parser.add_argument(
        '--boxes', type=int, default=100, help='predictions of an image'
    )
    add_json_option(parser)
    return parser.parse_args()


def random_truth(rng: np.random.Generator, images: int) -> dict:
    """Return the content of an annotation file, 7 objects an image."""
    corners = rng.uniform(0, SIZE * 0.8, (images * 7, 2))
    sizes = np.exp(rng.uniform(2, 5, (images * 7, 2)))
    labels = rng.integers(CLASSES, size=len(corners))
    return {
        'images': [
            {'id': i + 1, 'width': SIZE, 'height': SIZE} for i in range(images)
        ],
        'categories': [
            {'id': i + 1, 'name': f'class{i}'} for i in range(CLASSES)
        ],
        'annotations': [
            {
                'id': index + 1,
                'image_id': index // 7 + 1,
                'category_id': int(labels[index]) + 1,
                'bbox': [*corners[index].tolist(), *sizes[index].tolist()],
                'area': float(sizes[index].prod()),
                'iscrowd': int(rng.random() < 0.01),
            }
            for index in range(len(corners))
        ],
    }


def random_samples(
    rng: np.random.Generator, truth: dict, boxes: int
) -> list[dict]:
    """Return data samples: each object, moved, and random boxes."""
    samples = []
    for index, image in enumerate(truth['images']):
        objects = truth['annotations'][index * 7 : index * 7 + 7][:boxes]
        found = np.array([one['bbox'] for one in objects])
        found = found + rng.normal(0, 3, found.shape)
        extra = boxes - len(objects)
        corners = rng.uniform(0, SIZE * 0.8, (extra, 2))
        sizes = np.exp(rng.uniform(2, 5, (extra, 2)))
        found = np.concatenate((found, np.hstack((corners, sizes))))
        found[:, 2:] += found[:, :2]
        labels = np.concatenate(
            (
                [one['category_id'] - 1 for one in objects],
                rng.integers(CLASSES, size=extra),
            )
        )
        samples.append(
            {
                'img_id': image['id'],
                'ori_shape': (SIZE, SIZE),
                'pred_instances': {
                    'bboxes': torch.tensor(found).float(),
                    'scores': torch.rand(boxes),
                    'labels': torch.tensor(labels).long(),
                },
            }
        )
    return samples


def evaluate(metric: object, samples: Sequence[dict]) -> tuple[dict, float]:
    """Return the metrics and the CPU seconds until they are computed."""
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        for sample in samples:
            metric.process({}, [sample])
        metrics = metric.evaluate(len(samples))
    return metrics, time.process_time() - start


def main() -> None:
    args = parse_args()
    # Read by hotcoco when it is first used.
    os.environ['RAYON_NUM_THREADS'] = '1'
    torch.set_num_threads(1)
    torch.manual_seed(0)
    from mmdet.evaluation import CocoMetric
    from mmdet.evaluation.metrics import coco_metric

    from detnas_mm.evaluation.coco_metric import ExactCocoMetric

    rng = np.random.default_rng(0)
    truth = random_truth(rng, args.images)
    samples = random_samples(rng, truth, args.boxes)
    classes = tuple(category['name'] for category in truth['categories'])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / 'truth.json'
        file.write_text(json.dumps(truth))
        metrics = [
            kind(ann_file=str(file), classwise=True)
            for kind in (CocoMetric, ExactCocoMetric)
        ]
    for metric in metrics:
        metric.dataset_meta = {'classes': classes}
    # mmdet without rounding.
    with mock.patch.object(
        coco_metric, 'round', lambda value, ndigits: value, create=True
    ):
        wanted, seconds = evaluate(metrics[0], samples)
    first, first_seconds = evaluate(metrics[1], samples)
    second, second_seconds = evaluate(metrics[1], samples)
    wanted = {k: v for k, v in wanted.items() if 'copypaste' not in k}
    # As text, since NaN, of classes without objects, is not equal to NaN.
    equal = json.dumps(first) == json.dumps(second) == json.dumps(wanted)
    rows = [
        {'metric': name, 'CPU seconds': value, 'times': seconds / value}
        for name, value in (
            ('CocoMetric of mmdet', seconds),
            ('ExactCocoMetric, first candidate', first_seconds),
            ('ExactCocoMetric, next candidates', second_seconds),
        )
    ]
    report(
        f'{args.images} images with {args.boxes} boxes each; all '
        f'{len(wanted)} numbers {"are equal" if equal else "DIFFER"}',
        rows,
        args,
        equal=equal,
    )


if __name__ == '__main__':
    run_command(main)
