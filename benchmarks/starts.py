"""What the training of a found network should start from.

Trains one path of a supernet from the supernet's weights, from those of a
classifier of the objects in the training images, and from random weights, each
for several shares of the schedule and with several seeds, and prints the
results. What is finished is not trained again.
"""

import argparse
import json
import multiprocessing
import statistics
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import mmcv
import numpy as np
import torch
from measuring import add_json_option, report
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from searches import STAGE_1, run_tool

from detnas_mm.compat import setup_compat
from detnas_mm.engine.runner.candidate_training import (
    TEST,
    detector_config,
    shorten_loop,
    train,
)
from detnas_mm.models import extract_path, last_checkpoint, load_state_dict
from detnas_mm.structures import get_search_space
from detnas_mm.utils.cli import run_command
from detnas_mm.utils.files import write_atomically

STARTS = ('supernet', 'classification', 'nothing')
METRIC = 'coco/bbox_mAP'
CROP = 48  # pixels
# Of the longer side of a box: a little of what is around it.
CONTEXT = 1.25


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', type=Path, help='config of a search')
    parser.add_argument('checkpoint', help='checkpoint of its supernet')
    parser.add_argument('path', help='digits of the network')
    parser.add_argument('--out', type=Path, required=True, help='folder')
    parser.add_argument(
        '--shares',
        type=float,
        nargs='+',
        default=[0.25, 0.5, 1.0],
        help="of the supernet's schedule, rounded to whole epochs",
    )
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--processes', type=int, default=1)
    add_json_option(parser)
    return parser.parse_args()


@dataclass(frozen=True)
class Training:
    """One training of the network.

    Attributes:
        start: One of `STARTS`.
        share: Share of the schedule.
        seed: Of data, random weights and the classifier.
        path: Digits of the network.
        config: Config of the search.
        out: Folder of all trainings.
    """

    start: str
    share: float
    seed: int
    path: str
    config: Path
    out: Path

    def run(self) -> Mapping[str, float]:
        """Train, unless that is done, and return the metrics."""
        work_dir = self.out / f'{self.start}_{self.share:g}_seed{self.seed}'
        finished = work_dir / 'metrics.json'
        if not finished.exists():
            work_dir.mkdir(parents=True, exist_ok=True)
            metrics = train(*self._settings(work_dir), None)
            write_atomically(finished, json.dumps(metrics) + '\n')
        return json.loads(finished.read_text())

    def _settings(self, work_dir: Path) -> tuple[Mapping, float]:
        config = detector_config(Config.fromfile(self.config), is_tested=True)
        share = shorten_loop(config, self.share)
        config.model.backbone.path = self.path
        config.randomness.seed = self.seed
        config.work_dir = str(work_dir)
        if self.start == 'supernet':
            config.load_from = str(self.out / 'subnet.pth')
        elif self.start == 'classification':
            config.model.backbone.init_cfg = dict(
                type='Pretrained',
                checkpoint=last_checkpoint(self.out / f'cls_seed{self.seed}'),
                prefix='backbone.',
            )
        return config.to_dict(), share


def cut_objects(config: Config, out: Path) -> None:
    """Cut the objects out of the images, a folder for each class.

    Those of the training images go to `train`, those of the search split to
    `val`.
    """
    init_default_scope('mmdet')
    for split in ('train', 'val'):
        settings = deepcopy(config[f'{split}_dataloader'].dataset)
        settings.pipeline = []
        dataset = DATASETS.build(settings)
        for label, name in enumerate(dataset.metainfo['classes']):
            folder = out / split / f'{label:03d}_{name}'
            folder.mkdir(parents=True, exist_ok=True)
        for number, (label, crop) in enumerate(_crops(dataset)):
            name = dataset.metainfo['classes'][label]
            folder = out / split / f'{label:03d}_{name}'
            mmcv.imwrite(crop, str(folder / f'{number:06d}.png'))


def _crops(dataset: Sequence) -> Iterator[tuple[int, np.ndarray]]:
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        image = mmcv.imread(info['img_path'])
        for instance in info['instances']:
            left, top, right, bottom = instance['bbox']
            half = CONTEXT * max(right - left, bottom - top) / 2
            x, y = (left + right) / 2, (top + bottom) / 2
            square = np.array([x - half, y - half, x + half, y + half])
            crop = mmcv.imcrop(image, square, pad_fill=0)
            yield instance['bbox_label'], mmcv.imresize(crop, (CROP, CROP))


def train_classifier(
    config: Config, path: str, seed: int, crops: Path, work_dir: Path
) -> None:
    """Train the path on crops of objects, as stage 1 of the digits.

    Images are normalized as in the detector.
    """
    backbone = config.model.backbone
    space = get_search_space(backbone.search_space)
    channels = space.stage_channels[-1]
    normalization = config.model.data_preprocessor
    classifier = Config.fromfile(STAGE_1)
    classifier.merge_from_dict(
        {
            'model.backbone': {
                '_delete_': True,
                'type': 'detnas_mm.DetNASNet',
                'search_space': backbone.search_space,
                'shuffle': backbone.get('shuffle', 'grouped'),
                'path': path,
                'out_indices': (3,),
            },
            'model.neck.in_channels': channels,
            'model.neck.out_channels': channels,
            'model.head.in_channels': channels,
            'model.head.num_classes': len(list((crops / 'val').iterdir())),
            'model.head.loss': {'type': 'CrossEntropyLoss', '_delete_': True},
            'data_preprocessor': {
                '_delete_': True,
                'mean': normalization.mean,
                'std': normalization.std,
                'to_rgb': normalization.get('bgr_to_rgb', False),
            },
            'train_dataloader.dataset.data_root': str(crops),
            'val_dataloader.dataset.data_root': str(crops),
            'test_dataloader.dataset.data_root': str(crops),
            'custom_hooks': [
                dict(
                    type='detnas_mm.BNRecalibrationHook',
                    num_images=500,
                    at_end=True,
                )
            ],
            'find_unused_parameters': False,
            'randomness.seed': seed,
        }
    )
    work_dir.mkdir(parents=True, exist_ok=True)
    classifier.dump(work_dir / 'classifier.py')
    run_tool(
        'train.py', work_dir / 'classifier.py', '--work-dir', work_dir,
        '--resume',
    )  # fmt: skip
    (work_dir / 'done').touch()


def prepare(args: argparse.Namespace) -> None:
    """Make what the trainings start from."""
    config = Config.fromfile(args.config)
    args.out.mkdir(parents=True, exist_ok=True)
    space = get_search_space(config.model.backbone.search_space)
    weights = load_state_dict(args.checkpoint)
    subnet = extract_path(weights, space.parse(args.path))
    torch.save(subnet, args.out / 'subnet.pth')
    crops = args.out / 'crops'
    if not (crops / 'done').exists():
        cut_objects(config, crops)
        (crops / 'done').touch()
    for seed in range(args.seeds):
        work_dir = args.out / f'cls_seed{seed}'
        if not (work_dir / 'done').exists():
            train_classifier(config, args.path, seed, crops, work_dir)


def results(args: argparse.Namespace) -> dict[tuple, list[Mapping]]:
    """Train all and return the metrics by start and share."""
    cases = list(product(STARTS, args.shares))
    trainings = [
        Training(*case, seed, args.path, args.config, args.out)
        for seed in range(args.seeds)
        for case in cases
    ]
    # A process for each: MMEngine keeps loggers and default scopes.
    context = multiprocessing.get_context('forkserver')
    with ProcessPoolExecutor(
        args.processes, context, max_tasks_per_child=1
    ) as pool:
        metrics = list(pool.map(Training.run, trainings))
    return {
        case: metrics[number :: len(cases)]
        for number, case in enumerate(cases)
    }


def row(start: str, share: float, metrics: Sequence[Mapping]) -> dict:
    """Summarize the trainings of a start and a share."""
    tests = [single.get(TEST + METRIC, 0.0) for single in metrics]
    search = [single.get(METRIC, 0.0) for single in metrics]
    return {
        'start': start,
        'share': share,
        'test': f'{statistics.mean(tests):.3f}',
        'each': ', '.join(f'{value:.3f}' for value in tests),
        'search split': f'{statistics.mean(search):.3f}',
    }


def main() -> None:
    args = parse_args()
    setup_compat()
    prepare(args)
    rows = [row(*case, metrics) for case, metrics in results(args).items()]
    report(f'{METRIC} of {args.path} by what it starts from', rows, args)


if __name__ == '__main__':
    run_command(main)
