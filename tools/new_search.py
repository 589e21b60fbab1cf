"""Turns a folder of images with boxes into a project that searches a detector.

The folder is in the format of COCO, Roboflow, YOLO or Pascal VOC, and is left
as it is. The project has annotation files, a config for each step, and
`run.sh`, which runs all steps. Before it is written, some iterations and
candidates are timed, and the minutes of each step printed.
"""

import argparse
import math
import shlex
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from project.budget import (
    Plan,
    Timing,
    fit_plan,
    full_plan,
    smallest_factor,
    step_seconds,
)
from project.data_page import data_page
from project.templates import KNOWN_DETECTORS, Project, project_files
from project.timing import measure
from project.weights import Weights, use_weights

from detnas_mm.compat import setup_compat
from detnas_mm.projects.formats import SPLITS, LabeledImage, read_dataset
from detnas_mm.projects.parts import (
    annotation_text,
    class_names,
    is_turned,
    make_parts,
)
from detnas_mm.projects.statistics import box_shapes, usual_size
from detnas_mm.utils.cli import run_command
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import require_writable, write_atomically

# Boxes that are more likely a slip of the mouse.
THIN = 2
# The largest stride of the backbone, in pixels.
SMALLEST_SIDE = 32
SECONDS = {'min': 60, 'h': 3600, 'd': 86400}
Parts = Mapping[str, Sequence[LabeledImage]]


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('data', type=Path, help='folder of the images')
    parser.add_argument('project', type=Path, help='folder to write')
    parser.add_argument(
        '--ann-file',
        nargs='+',
        default=[],
        metavar='SPLIT=FILE',
        help="annotations in COCO's format that are not found by their names: "
        'train=FILE, valid=FILE, test=FILE',
    )
    parser.add_argument(
        '--valid',
        choices=['search', 'test'],
        default='search',
        help='part that a split named valid becomes (default: search)',
    )
    parser.add_argument(
        '--detector',
        default='retinanet',
        help=f'{", ".join(KNOWN_DETECTORS)}, or a config of mmdet with a neck '
        'of four maps, such as mmdet::fcos/NAME.py (default: retinanet)',
    )
    parser.add_argument(
        '--weights',
        type=Path,
        help='weights of a supernet to start from: see the page '
        '"Start from published weights"',
    )
    parser.add_argument(
        '--budget',
        help='time for all steps, such as 90min, 2h or 1d (default: 2h '
        "without a GPU, else what the paper's plan takes)",
    )
    parser.add_argument(
        '--space', choices=['elastic', 'small'], help='search space'
    )
    parser.add_argument(
        '--seeds', type=int, default=1, help='trainings of each network'
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--flip',
        type=float,
        default=0.5,
        help='probability to mirror a training image; 0 if a mirrored object '
        'is another one, as for letters',
    )
    add_plan_arguments(parser)
    return parser.parse_args()


def add_plan_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the numbers of the plan that can be set by hand."""
    group = parser.add_argument_group('instead of what fits into the budget')
    for name, kind, text in (
        ('factor', float, 'factor of the usual size of images'),
        ('iterations', int, 'iterations of the supernet'),
        ('population', int, 'candidates of a generation'),
        ('generations', int, 'generations of the search'),
        ('top', int, 'candidates that are trained'),
        ('share', float, 'share of the iterations for each of them'),
    ):
        group.add_argument(f'--{name}', type=kind, help=text)
    group.add_argument(
        '--no-timing',
        action='store_true',
        help='do not time anything: the numbers above, or the full plan',
    )


def require_numbers(args: argparse.Namespace) -> None:
    """Refuses numbers with which a step would fail hours later.

    Raises:
        InputError: If one of them is out of its range.
    """
    least = dict(seeds=1, iterations=1, top=1, seed=0)
    least |= dict(population=2, generations=1)  # two parents
    shares = dict(share=1.0, flip=1.0, factor=math.inf)
    for name, value in vars(args).items():
        if name in least and value is not None and value < least[name]:
            raise InputError(
                f'`--{name}` is {value}, expected at least {least[name]}'
            )
        if name in shares and value is not None:
            is_right = value > 0 or (name == 'flip' and value == 0)
            if not is_right or value > shares[name]:
                raise InputError(
                    f'`--{name}` is {value}, expected a number from 0 to '
                    f'{shares[name]:g}'
                )


def read_seconds(text: str) -> float:
    """Returns the seconds of a time such as ``2h``."""
    number = text.rstrip('abcdefghijklmnopqrstuvwxyz ')
    try:
        seconds = float(number) * SECONDS[text[len(number) :].strip()]
    except (ValueError, KeyError):
        seconds = 0
    if not seconds > 0:
        raise InputError(
            f'`--budget` is {text!r}, expected a time such as 90min, 2h or 1d'
        )
    return seconds


def read_ann_files(entries: Sequence[str]) -> dict[str, Path]:
    """Returns the annotation files by split."""
    files = {}
    for entry in entries:
        split, _, file = entry.partition('=')
        if split not in SPLITS or not Path(file).is_file():
            raise InputError(
                f'`--ann-file` has {entry!r}, expected train=FILE, valid=FILE '
                'or test=FILE with a file that exists'
            )
        files[SPLITS[split]] = Path(file)
    return files


def read_parts(args: argparse.Namespace) -> tuple[str, Parts, list[str]]:
    """Returns the format, the parts, and what is worth knowing of them."""
    data = read_dataset(args.data, read_ann_files(args.ann_file))
    parts, done = make_parts(data.splits, valid_is=args.valid, seed=args.seed)
    notes = [*data.notes, *done]
    for name, images in parts.items():
        empty = sum(not image.boxes for image in images)
        if empty:
            notes.append(f'{name}: {empty} images have no box')
        thin = [
            image.file.name
            for image in images
            for box in image.boxes
            if min(box.width, box.height) <= THIN
        ]
        if thin:
            notes.append(
                f'{name}: {len(thin)} boxes have {THIN} pixels or fewer in a '
                f'side, such as one in {thin[0]}'
            )
    trained = class_names({'train': parts['train']})
    for name in class_names(parts):
        if name not in trained:
            notes.append(f'class {name!r} has no box in train')
    return data.kind, parts, notes


def make_project(
    args: argparse.Namespace, parts: Parts, weights: Weights | None
) -> Project:
    """Returns what the files depend on beside the plan."""
    train = parts['train']
    size = usual_size(train)
    fullest = max(len(i.boxes) for p in parts.values() for i in p)
    return Project(
        root=args.data.resolve(),
        repository=Path(__file__).resolve().parents[1],
        detector=args.detector,
        classes=class_names(parts),
        counts={
            # mmdet does not train on images without boxes.
            name: sum(name != 'train' or bool(i.boxes) for i in images)
            for name, images in parts.items()
        },
        size=size,
        shapes=box_shapes(train, size),
        fullest=fullest,
        is_turned=is_turned(parts),
        flip=args.flip,
        weights=weights,
        gpus=torch.cuda.device_count(),
        seed=args.seed,
    )


def write_project(
    project: Project, plan: Plan, minutes: Mapping[str, int], folder: Path
) -> None:
    """Writes the files that depend on the plan."""
    for name, text in project_files(project, plan, minutes, folder).items():
        write_atomically(folder / name, text)


def choose_plan(
    args: argparse.Namespace, project: Project, seconds: float
) -> tuple[Plan, Timing | None]:
    """Returns the plan for a time, and what was measured for it."""
    has_budget = seconds < math.inf
    counts = project.counts
    weights = project.weights
    plan = full_plan(counts, args.seeds, weights is not None)
    plan = replace(plan, space=weights.space if weights else plan.space)
    if has_budget and not project.gpus:
        space = weights.space if weights else 'elastic'
        # Smaller batches, for more paths in the same time.
        plan = replace(plan, is_light=True, space=space, top=3, batch_size=8)
        sides = project.shapes.min(axis=1)
        factor = smallest_factor(float(np.quantile(sides, 0.1)))
        plan = replace(plan, factor=factor)
    plan = replace(plan, space=args.space or plan.space)
    if weights and plan.space != weights.space:
        raise InputError(
            f'`--weights` are of the space {weights.space}, but `--space` is '
            f'{plan.space}; leave one of them out'
        )
    if args.factor:
        side = min(project.size) * args.factor
        if side < SMALLEST_SIDE:
            raise InputError(
                f'`--factor` is {args.factor:g}, which leaves {side:.0f} '
                f'pixels of an image; expected {SMALLEST_SIDE} or more'
            )
        plan = replace(plan, factor=args.factor)
    timing = None
    if not args.no_timing:
        write_project(project, plan, {}, args.project)
        print('timing ten iterations and two candidates ...', flush=True)
        timing = measure(args.project, project.repository, counts, plan)
        if has_budget:
            gpus = max(project.gpus, 1)
            plan = fit_plan(plan, timing, counts, seconds, gpus)
    named = ('iterations', 'population', 'generations', 'top', 'share')
    given = {name: getattr(args, name) for name in (*named, 'factor')}
    return replace(plan, **{k: v for k, v in given.items() if v}), timing


def print_data(project: Project, parts: Parts, notes: Sequence[str]) -> None:
    """Prints the images and boxes of each part, and what the check found."""
    for name, images in parts.items():
        boxes = Counter(box.name for i in images for box in i.boxes)
        numbers = ', '.join(f'{boxes[c]:,} {c}' for c in project.classes)
        print(f'  {name:6} {len(images):6,} images: {numbers}')
    for note in notes:
        print(f'  {note}')


def describe(
    project: Project, plan: Plan, timing: Timing | None, budget: float
) -> dict[str, int]:
    """Prints the plan for a budget, and returns the minutes of each step."""
    iterations = round(plan.share * plan.iterations)
    nets = f'{plan.top + 2} networks'
    if plan.seeds > 1:
        nets += f' x {plan.seeds} seeds'
    what = {
        'supernet': f'{plan.iterations:,} iterations of {plan.batch_size} '
        'images of {} x {}'.format(
            *(round(side * plan.factor) for side in project.size)
        ),
        'search': f'{plan.generations} generations of {plan.population} '
        f'candidates, space {plan.space}',
        'finalists': f'{nets}, {iterations:,} iterations each',
        'verdict': f'3 networks on {project.counts["test"]:,} test images',
    }
    if timing is None:
        minutes = dict.fromkeys(what, 0)
        print('not timed')
    else:
        print(
            f'timed here: {timing.iteration:.2f} s an iteration, '
            f'{timing.calibration + timing.inference:.3f} s a candidate for '
            'each image'
        )
        seconds = step_seconds(
            plan, timing, project.counts, max(project.gpus, 1)
        )
        minutes = {s: math.ceil(t / 60) for s, t in seconds.items()}
    for step, text in what.items():
        time = f'{minutes[step]:6,} min' if timing else ''
        print(f'  {step:9} {time}  {text}')
    if timing:
        print(f'  together  {sum(minutes.values()):6,} min')
        if sum(seconds.values()) > budget:
            print(
                f'  that is more than the budget of {budget / 60:,.0f} min: a '
                'search needs at least this, or a number was set by hand'
            )
    return minutes


def main() -> None:
    """Runs the command."""
    args = parse_args()
    setup_compat()
    require_numbers(args)
    if args.budget:
        read_seconds(args.budget)
    folder = args.project
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f'{folder} exists and is not empty; use another name')
    print(f'reading {args.data} ...', flush=True)
    kind, parts, notes = read_parts(args)
    require_writable(folder, 'project')
    try:
        weights = args.weights and use_weights(args.weights, folder)
        project = make_project(args, parts, weights)
        (folder / 'annotations').mkdir(exist_ok=True)
        for name, images in parts.items():
            text = annotation_text(images, project.classes, project.root)
            write_atomically(folder / f'annotations/{name}.json', text)
        print(f'{args.data}: {kind}, {len(project.classes)} classes')
        print_data(project, parts, notes)
        budget = args.budget or (None if project.gpus else '2h')
        seconds = read_seconds(budget) if budget else math.inf
        plan, timing = choose_plan(args, project, seconds)
        minutes = describe(project, plan, timing, seconds)
        write_project(project, plan, minutes, folder)
    except BaseException:
        # A second try begins with an empty folder.
        shutil.rmtree(folder)
        raise
    (folder / 'run.sh').chmod(0o755)
    page = folder / 'data.html'
    write_atomically(page, data_page(project, plan, parts, notes))
    print(f'look at the data before: {page}')
    if weights is None:
        print(
            'starts from random weights; docs/published_weights.md says where '
            'supernets are that save 12 GPU-days of ImageNet (--weights FILE)'
        )
    script = shlex.quote(str(folder / 'run.sh'))
    print(f'{folder} is ready; next: bash {script}')


if __name__ == '__main__':
    run_command(main)
