"""Compare cheaper evaluation protocols on the same random paths.

For each protocol the table shows the time of a candidate, Kendall's tau
between its ranking and the ranking by the config, and how far it
moves scores. The first protocol uses other images for BN statistics: a
protocol that moves scores less is as good as the full one.

A protocol is a list of settings as in --cfg-options. Four short names are
accepted too: `images` is the fraction of the search split that is scored,
`bn_seed` and `bn_images` select the images for BN statistics, and `scale`
changes the size of all images. Each protocol is a run of `tools/search.py`
with a work dir of its own; a complete one is not repeated.
"""

import argparse
import inspect
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config, DictAction
from random_images import recalibration_hook
from rich.console import Console
from rich.table import Table
from searches import run_search

from detnas_mm.compat import setup_compat
from detnas_mm.engine import BNRecalibrationHook
from detnas_mm.evaluation.rank_correlation import kendall
from detnas_mm.structures import Candidate
from detnas_mm.utils.cli import add_common_arguments, load_config, run_command
from detnas_mm.utils.errors import InputError

FULL, OTHER_BN = 'full', 'other images for BN'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config of a search')
    parser.add_argument('checkpoint', help='checkpoint of its supernet')
    parser.add_argument('--candidates', type=int, default=20)
    parser.add_argument('--seed', type=int, default=0, help='of the paths')
    parser.add_argument(
        '--protocol',
        nargs='+',
        action='append',
        metavar='KEY=VALUE',
        help='settings of a protocol, repeatable, such as: --protocol '
        'images=0.5 model.test_cfg.nms_pre=100; by default some that suit '
        'the detector',
    )
    parser.add_argument('--json', type=Path, help='write the numbers there')
    add_common_arguments(parser)
    return parser.parse_args()


def default_protocols(config: Config) -> list[dict[str, Any]]:
    """Return cheaper protocols for a one-stage or two-stage detector."""
    test = config.model.test_cfg
    if 'rpn' in test:
        proposals = {'model.test_cfg.rpn.max_per_img': test.rpn.max_per_img}
        boxes = {'model.test_cfg.rcnn.max_per_img': test.rcnn.max_per_img}
    else:
        proposals = {'model.test_cfg.nms_pre': test.nms_pre}
        boxes = {'model.test_cfg.max_per_img': test.max_per_img}
    return [
        {key: value // 3 for key, value in proposals.items()},
        {key: value // 2 for key, value in boxes.items()},
        {'images': 0.5},
        {'images': 0.25},
        {'bn_images': num_bn_images(config) // 4},
        {'scale': 0.75},
        {'val_cfg.fp16': True},
    ]


def num_bn_images(config: Config) -> int:
    """Return the number of images for BN statistics."""
    default = inspect.signature(BNRecalibrationHook).parameters['num_images']
    return recalibration_hook(config).get('num_images', default.default)


def protocol_config(
    config: Config, settings: Mapping[str, Any], folder: Path
) -> Config:
    """Return the config of a protocol.

    Args:
        config: The config of a search on annotations in COCO's format.
        settings: The settings that the protocol changes.
        folder: Where the annotations of a part of the images are written.
    """
    changed = Config(config.to_dict())
    rest = dict(settings)
    hook = recalibration_hook(changed)
    hook['seed'] = rest.pop('bn_seed', hook.get('seed', 0))
    hook['num_images'] = rest.pop('bn_images', num_bn_images(config))
    scale = rest.pop('scale', 1)
    if scale != 1:
        for split in ('train', 'val'):
            rescale(changed[f'{split}_dataloader'].dataset, scale)
    part = rest.pop('images', 1)
    if part != 1:
        score_part(changed, part, folder)
    changed.merge_from_dict(rest)
    return changed


def rescale(dataset: dict, scale: float) -> None:
    """Change the size of the images of a data set.

    Raises:
        InputError: If its pipeline does not resize images.
    """
    while 'pipeline' not in dataset:
        dataset = dataset['dataset']
    found = [step for step in dataset['pipeline'] if 'scale' in step]
    if not found:
        raise InputError(
            '`scale` needs a step with a `scale`, such as Resize, in the '
            'pipelines of `train_dataloader` and `val_dataloader`'
        )
    for step in found:
        step['scale'] = tuple(round(scale * side) for side in step['scale'])


def score_part(config: Config, part: float, folder: Path) -> None:
    """Score a random part of the images as if it were the search split.

    Data set and evaluator get annotations that list this part only.

    Raises:
        InputError: If ``part`` is not a fraction.
    """
    if not 0 < part < 1:
        raise InputError(f'`images` must be between 0 and 1, got {part}')
    content = json.loads(Path(config.val_evaluator.ann_file).read_text())
    images = content['images']
    rng = np.random.default_rng(0)
    count = max(1, round(part * len(images)))
    chosen = rng.permutation(len(images))[:count]
    content['images'] = [images[index] for index in sorted(chosen)]
    ids = {image['id'] for image in content['images']}
    content['annotations'] = [
        box for box in content['annotations'] if box['image_id'] in ids
    ]
    file = folder.resolve() / f'images_{part}.json'
    file.write_text(json.dumps(content))
    config.val_dataloader.dataset.ann_file = str(file)
    config.val_evaluator.ann_file = str(file)


def score_paths(
    config: Config, checkpoint: str, work_dir: Path, num: int, seed: int
) -> list[Candidate]:
    """Score random paths under the protocol of a config.

    The first generation of an evolution is random, so all protocols get the
    same paths.

    Raises:
        RuntimeError: If a path fails.
    """
    config.val_cfg.update(
        algorithm=dict(type='Evolution', population=num, parents=1),
        generations=1,
        seed=seed,
    )
    file = work_dir.with_suffix('.py')
    config.dump(file)
    candidates = run_search(file, checkpoint, work_dir, [])
    for candidate in candidates:
        if candidate.error is not None:
            raise RuntimeError(
                f'path {candidate.path} failed: {candidate.error}'
            )
    return candidates


def rows_of(scored: Mapping[str, Sequence[Candidate]]) -> list[dict]:
    """Compare each protocol with the full one."""
    full = np.array([candidate.fitness for candidate in scored[FULL]])
    full_seconds = np.median([c.seconds for c in scored[FULL]])
    rows = []
    for name, candidates in scored.items():
        scores = np.array([candidate.fitness for candidate in candidates])
        seconds = np.median([candidate.seconds for candidate in candidates])
        rows.append(
            {
                'protocol': name,
                'seconds': float(seconds),
                'cost': float(seconds / full_seconds),
                'Kendall tau': float(kendall(scores, full)),
                'mean score': float(scores.mean()),
                # A shift of all scores does not change the ranking.
                'scores move by': float(np.std(scores - full)),
            }
        )
    return rows


def print_table(rows: Sequence[Mapping[str, Any]], candidates: int) -> None:
    table = Table(
        title=f'{candidates} candidates, against the full protocol; median '
        'seconds of a candidate'
    )
    for column in [*rows[0], 'less than other BN images']:
        table.add_column(column, justify='right')
    limit = {row['protocol']: row['scores move by'] for row in rows}[OTHER_BN]
    for row in rows:
        name, *values = row.values()
        less = row['scores move by'] < limit
        table.add_row(
            name,
            *(f'{value:.3g}' for value in values),
            'yes' if less else 'no',
        )
    Console(width=140).print(table)


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    parser.add_argument('settings', nargs='+', action=DictAction)
    return parser.parse_args(texts).settings


def main() -> None:
    args = parse_args()
    if args.candidates < 3:
        raise InputError(
            f'--candidates must be at least 3, got {args.candidates}'
        )
    setup_compat()
    config = load_config(args)
    wanted = default_protocols(config)
    if args.protocol is not None:
        wanted = [parse_settings(texts) for texts in args.protocol]
    other_seed = recalibration_hook(config).get('seed', 0) + 1
    protocols = {FULL: {}, OTHER_BN: {'bn_seed': other_seed}} | {
        ', '.join(f'{key}={value}' for key, value in settings.items()): (
            settings
        )
        for settings in wanted
    }
    out = Path(config.work_dir)
    out.mkdir(parents=True, exist_ok=True)
    scored = {}
    for name, settings in protocols.items():
        changed = protocol_config(config, settings, out)
        folder = out / re.sub(r'[^\w=]+', '_', f'{name}_seed{args.seed}')
        scored[name] = score_paths(
            changed, args.checkpoint, folder, args.candidates, args.seed
        )
    rows = rows_of(scored)
    print_table(rows, args.candidates)
    if args.json is not None:
        args.json.write_text(json.dumps(rows) + '\n')


if __name__ == '__main__':
    run_command(main)
