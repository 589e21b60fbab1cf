"""Times a few iterations and candidates of a project."""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from project.budget import Plan, Timing
from project.templates import Project

from detnas_mm.structures import RECORD, SearchRecord, get_search_space
from detnas_mm.utils.errors import InputError

ITERATIONS, WARM_UP, IMAGES = 12, 2, 24


def measure(folder: Path, project: Project, plan: Plan) -> Timing:
    """Runs ten iterations and some candidates by the ordinary commands.

    On a CPU, iterations are timed twice: in one process with all threads, as
    the supernet is trained, and in all that train networks side by side.

    Args:
        folder: The folder of the project.
        project: The data, and what they run on.
        plan: The plan by which the configs were written.

    Raises:
        InputError: If one of the commands refuses its input.
    """
    images = min(IMAGES, project.counts['search'], project.counts['train'])
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        options = _small(folder, work, images)
        began = time.perf_counter()
        times = _time_iterations(folder, project, work / 'alone', options)
        whole = time.perf_counter() - began
        shared = iteration = statistics.median(times[WARM_UP:])
        if project.processes > 1 and not project.gpus:
            shared = _time_side_by_side(folder, project, work, options)
        parts = _time_candidates(folder, project, work, options, plan.space)
    inference = parts['inference'] + parts.get('metric', 0)
    return Timing(
        iteration=iteration,
        shared_iteration=shared,
        calibration=parts['calibration'] / images,
        inference=inference / images,
        start=max(whole - sum(times) - inference, 0),
        factor=plan.factor,
    )


def _time_iterations(
    folder: Path,
    project: Project,
    work_dir: Path,
    options: list[str],
    **environment: str,
) -> list[float]:
    """Returns the seconds of each iteration."""
    few = [
        f'train_cfg.max_iters={ITERATIONS}',
        f'train_cfg.val_interval={ITERATIONS}',
        'default_hooks.logger.interval=1',
    ]
    command = [project.repository / 'tools/train.py', 'supernet.py']
    command += ['--work-dir', work_dir]
    _run(command, [*few, *options], folder, project, **environment)
    (scalars,) = work_dir.glob('*/vis_data/scalars.json')
    lines = map(json.loads, scalars.read_text().splitlines())
    return [line['time'] for line in lines if 'loss' in line]


def _time_side_by_side(
    folder: Path, project: Project, work: Path, options: list[str]
) -> float:
    """Returns the seconds of an iteration while all processes train."""

    def iteration(number: int) -> float:
        work_dir = work / f'shared{number}'
        threads = dict(OMP_NUM_THREADS=str(project.threads))
        times = _time_iterations(folder, project, work_dir, options, **threads)
        return statistics.median(times[WARM_UP:])

    with ThreadPoolExecutor(project.processes) as pool:
        return max(pool.map(iteration, range(project.processes)))


def _time_candidates(
    folder: Path,
    project: Project,
    work: Path,
    options: list[str],
    space_name: str,
) -> Mapping[str, float]:
    """Returns the seconds of the parts of a candidate."""
    space = get_search_space(space_name)
    count = 2 * project.processes
    paths = space.random_paths(np.random.default_rng(0), count)
    free = ['val_cfg.constraint.max_macs=None']
    free.append('val_cfg.constraint.min_macs=None')
    checkpoint = work / f'alone/iter_{ITERATIONS}.pth'
    command = [project.repository / 'tools/search.py', 'search.py', checkpoint]
    command += ['--paths', *map(space.format, paths)]
    command += ['--work-dir', work / 'search']
    environment = {}
    if project.processes > 1:
        command[:0] = ['-m', 'torch.distributed.run', '--standalone']
        command[3:3] = ['--nproc_per_node', project.processes]
        command += ['--launcher', 'pytorch']
    if project.processes > 1 and not project.gpus:
        environment['OMP_NUM_THREADS'] = str(project.threads)
    _run(command, [*free, *options], folder, project, **environment)
    # The first candidates decode the images.
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
    command: list,
    options: list[str],
    folder: Path,
    project: Project,
    **environment: str,
) -> None:
    environment['DETNAS_MM'] = str(project.repository)
    done = subprocess.run(
        [sys.executable, *map(str, command), '--cfg-options', *options],
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        error = re.findall('^error: (.+)', done.stdout, re.MULTILINE)
        if error:
            raise InputError(error[-1])
        print(done.stdout[-6000:], file=sys.stderr)
        raise RuntimeError('a command that was timed failed, see above')
