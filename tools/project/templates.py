"""The files of a project, from the numbers of its data and its plan."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

import numpy as np
from mmengine.hub import get_config
from project.budget import Plan
from project.weights import NAME, Weights

from detnas_mm.projects.statistics import fit_anchors
from detnas_mm.utils.errors import InputError

# Learning rates of the paper, for 16 images.
KNOWN_DETECTORS = {'retinanet': 0.01, 'faster-rcnn': 0.02}
# Normalization of images: of the authors' nets, and the usual one.
_BGR255 = 'dict(mean=[0.0] * 3, std=[1.0] * 3, bgr_to_rgb=False)'
_RGB = """dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True)"""
_BOUNDS = {
    'small': ('dict(max_macs=300e6)', 'as in the paper'),
    'elastic': (
        'dict(min_macs=260e6, max_macs=300e6)',
        'a tenth of the range',
    ),
}


@dataclass(frozen=True)
class Project:
    """What the files of a project depend on beside its plan.

    Attributes:
        root: The folder of the images.
        repository: The folder that has ``configs`` and ``tools``.
        detector: ``'retinanet'``, ``'faster-rcnn'`` or a config of mmdet.
        classes: Names of the classes.
        counts: Number of images of each part, for training those with boxes.
        size: Usual longer and shorter side of the images.
        shapes: Width and height of the training boxes at that size.
        fullest: Boxes of the fullest image.
        is_turned: Whether boxes refer to images as EXIF data turn them.
        flip: Probability to mirror a training image.
        weights: Weights that the supernet starts from.
        gpus: Number of GPUs.
        seed: Seed of every random choice.
    """

    root: Path
    repository: Path
    detector: str
    classes: Sequence[str]
    counts: Mapping[str, int]
    size: tuple[int, int]
    shapes: np.ndarray
    fullest: int
    is_turned: bool
    flip: float
    weights: Weights | None
    gpus: int
    seed: int


def project_files(
    project: Project, plan: Plan, minutes: Mapping[str, int], folder: Path
) -> dict[str, str]:
    """Return configs, ``run.sh`` and ``README.md`` of a project by name.

    Args:
        project: The data and the detector.
        plan: The numbers that cost time.
        minutes: Minutes of each step.
        folder: The folder of the project.

    Raises:
        InputError: If there is no such detector, or none with four maps.
    """
    repository = os.path.relpath(project.repository, folder.resolve())
    values = {
        **_model_values(project, plan),
        **_training_values(project, plan),
        **_search_values(project, plan),
        # MMEngine replaces it by the environment variable that run.sh sets.
        'configs': f'{{{{$DETNAS_MM:{repository}}}}}/configs',
        'steps': '\n'.join(f'{s} {m}' for s, m in minutes.items()),
    }
    model = project.detector + '-light' * plan.is_light
    if project.detector not in KNOWN_DETECTORS:
        _require_four_maps(project.detector)
        model = 'mmdet'
    names = {f'model/{model}.py': 'model.py'}
    for name in ('data', 'supernet', 'search', 'detector'):
        names[f'{name}.py'] = f'{name}.py'
    names |= {'run.sh': 'run.sh', 'README.md': 'README.md'}
    templates = Path(__file__).parent
    return {
        target: Template((templates / f'{name}.txt').read_text()).substitute(
            values
        )
        for name, target in names.items()
    }


def _require_four_maps(detector: str) -> None:
    try:
        model = get_config(detector).model
    except (AssertionError, FileNotFoundError, ValueError) as error:
        raise InputError(
            f'no detector {detector}; give {", ".join(KNOWN_DETECTORS)}, or a '
            'config of mmdet such as mmdet::fcos/NAME.py'
        ) from error
    if 'mask_head' in (model.get('roi_head') or {}):
        raise InputError(
            f'{detector} predicts masks, but the project has boxes only; give '
            'a detector of boxes'
        )
    channels = (model.get('neck') or {}).get('in_channels')
    if not isinstance(channels, list) or len(channels) != 4:
        raise InputError(
            f'the neck of {detector} has `in_channels` {channels}; expected '
            'four maps, as an FPN takes'
        )


def _model_values(project: Project, plan: Plan) -> dict[str, object]:
    fit = fit_anchors(plan.factor * project.shapes)
    is_rgb = project.weights is None or project.weights.is_rgb
    return dict(
        detector=project.detector,
        preprocessor=_RGB if is_rgb else _BGR255,
        num_classes=len(project.classes),
        levels=fit.levels,
        # FPN has three maps of its own.
        extra_convs=repr('on_input' if fit.levels > 3 else False),
        base=fit.base,
        ratios=list(fit.ratios),
        strides=[8 * 2**level for level in range(fit.levels)],
        covered=f'{fit.covered:.0%}',
        fullest=project.fullest,
        most=max(100, -(-project.fullest // 50) * 50),
        # A base that is a whole config has other data and another schedule.
        delete=''
        if project.detector in KNOWN_DETECTORS
        else '_delete_=True, ',
    )


def _training_values(project: Project, plan: Plan) -> dict[str, object]:
    epochs = plan.iterations * plan.batch_size / project.counts['train']
    start = "dict(type='detnas_mm.AlignedInit')"
    rate = 2e-3 * (plan.batch_size / 16) ** 0.5
    optimizer = f"dict(type='AdamW', lr={rate:.2g}, weight_decay=0.05)"
    if project.weights:
        start = (
            f"dict(type='Pretrained', checkpoint='{NAME}', prefix='backbone.')"
        )
        rate = KNOWN_DETECTORS.get(project.detector, 0.01)
        rate *= plan.batch_size / 16
        optimizer = f"dict(type='SGD', lr={rate:.2g}, momentum=0.9, "
        optimizer += 'weight_decay=1e-4)'
    return dict(
        root=project.root,
        images=repr(str(project.root)),
        counts=', '.join(f'{n:,} {p}' for p, n in project.counts.items()),
        classes=tuple(project.classes),
        scale=tuple(round(side * plan.factor) for side in project.size),
        scale_why=f'{plan.factor:g} x the usual size',
        color='color' if project.is_turned else 'color_ignore_orientation',
        flip=f'{project.flip:g}',
        batch=max(plan.batch_size // max(project.gpus, 1), 1),
        test_batch=min(plan.batch_size, 8),
        workers=2 if project.gpus else 1,
        init=start,
        shuffle=project.weights.shuffle if project.weights else 'grouped',
        optimizer=optimizer,
        iterations=plan.iterations,
        iterations_why=f'{epochs:.0f} epochs',
        warm_up=min(max(plan.iterations // 10, 1), 500),
        log=max(min(plan.iterations // 20, 50), 1),
        save=max(min(plan.iterations // 20, 1000), 1),
        channels_last=''
        if project.gpus
        else ", channels_last=dict(type='detnas_mm.ChannelsLastHook')",
        seed=project.seed,
    )


def _search_values(project: Project, plan: Plan) -> dict[str, object]:
    bounds, bounds_why = _BOUNDS[plan.space]
    uneven = plan.space.startswith('elastic')
    launch, end = 'python', ''
    if project.gpus > 1:
        launch = 'python -m torch.distributed.run --nproc_per_node '
        launch, end = f'{launch}{project.gpus}', ' --launcher pytorch'
    return dict(
        space=plan.space,
        constraint=bounds,
        constraint_why=bounds_why,
        concentration=', concentration=0.4' if uneven else '',
        calibration=plan.calibration,
        generations=plan.generations,
        population=plan.population,
        candidates=plan.generations * plan.population,
        parents=max(plan.population // 5, 2),
        top=plan.top,
        seeds=plan.seeds,
        share=f'{plan.share:g}',
        launch=launch,
        launcher=end,
    )
