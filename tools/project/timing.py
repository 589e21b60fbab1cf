"""Times a few iterations and candidates of a project."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from project.budget import Plan, Timing

from detnas_mm.structures import RECORD, SearchRecord, get_search_space
from detnas_mm.utils.errors import InputError

ITERATIONS, WARM_UP, IMAGES = 12, 2, 24


def measure(
    folder: Path, repository: Path, counts: Mapping[str, int], plan: Plan
) -> Timing:
    """Runs ten iterations and two candidates by the ordinary commands.

    Args:
        folder: The folder of the project.
        repository: The folder that has ``configs`` and ``tools``.
        counts: Number of images of each part.
        plan: The plan by which the configs were written.

    Raises:
        InputError: If one of the commands refuses its input.
    """
    images = min(IMAGES, counts['search'], counts['train'])
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        options = _small(folder, work, images)
        began = time.perf_counter()
        times = _time_iterations(folder, repository, work, options)
        whole = time.perf_counter() - began
        parts = _time_candidates(folder, repository, work, options, plan.space)
    inference = parts['inference'] + parts.get('metric', 0)
    return Timing(
        iteration=statistics.median(times[WARM_UP:]),
        calibration=parts['calibration'] / images,
        inference=inference / images,
        start=max(whole - sum(times) - inference, 0),
        factor=plan.factor,
    )


def _time_iterations(
    folder: Path, repository: Path, work: Path, options: list[str]
) -> list[float]:
    """Returns the seconds of each iteration."""
    few = [
        f'train_cfg.max_iters={ITERATIONS}',
        f'train_cfg.val_interval={ITERATIONS}',
        'default_hooks.logger.interval=1',
    ]
    command = [repository / 'tools/train.py', 'supernet.py']
    _run(command, [*few, *options], folder, f'{work}/train')
    (scalars,) = work.glob('train/*/vis_data/scalars.json')
    lines = map(json.loads, scalars.read_text().splitlines())
    return [line['time'] for line in lines if 'loss' in line]


def _time_candidates(
    folder: Path,
    repository: Path,
    work: Path,
    options: list[str],
    space_name: str,
) -> Mapping[str, float]:
    """Returns the seconds of the parts of a candidate."""
    space = get_search_space(space_name)
    paths = space.random_paths(np.random.default_rng(0), 2)
    free = ['val_cfg.constraint.max_macs=None']
    free.append('val_cfg.constraint.min_macs=None')
    checkpoint = work / f'train/iter_{ITERATIONS}.pth'
    command = [repository / 'tools/search.py', 'search.py', checkpoint]
    command += ['--paths', *map(space.format, paths)]
    _run(command, [*free, *options], folder, f'{work}/search')
    # The first candidate decodes the images.
    record = SearchRecord.read(work / 'search' / RECORD)
    return record.candidates[-1].seconds_by_part


def _small(folder: Path, work: Path, images: int) -> list[str]:
    """Returns options for few images and an untrained detector."""
    content = json.loads((folder / 'annotations/search.json').read_text())
    content['images'] = content['images'][:images]
    ids = {image['id'] for image in content['images']}
    content['annotations'] = [
        a for a in content['annotations'] if a['image_id'] in ids
    ]
    file = work / 'search.json'
    file.write_text(json.dumps(content))
    return [
        f'val_dataloader.dataset.ann_file={file}',
        f'val_evaluator.ann_file={file}',
        f'custom_hooks.1.num_images={images}',
        # Without these it predicts nothing.
        'model.test_cfg.score_thr=0.0',
        'model.test_cfg.nms_pre=100',
        'model.test_cfg.rcnn.score_thr=0.0',
    ]


def _run(
    command: list, options: list[str], folder: Path, work_dir: str
) -> None:
    done = subprocess.run(
        [
            sys.executable,
            *map(str, command),
            '--work-dir',
            work_dir,
            '--cfg-options',
            *options,
        ],
        cwd=folder,
        env=os.environ | {'DETNAS_MM': str(Path(command[0]).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        *_, last = done.stdout.strip().splitlines() or ['']
        if done.returncode == 2 and last.startswith('error: '):
            raise InputError(last.removeprefix('error: '))
        print(done.stdout[-6000:], file=sys.stderr)
        raise RuntimeError(f'{Path(command[0]).name} failed, see above')
