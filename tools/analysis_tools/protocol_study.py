"""Scores the same paths under several protocols: what each costs and keeps.

Against the protocol of the config it prints for each other one the time of a
candidate, Kendall's tau of the two rankings, and how far scores move. The
first of them takes other images for the BN statistics: what moves scores less
than that is as good as the full protocol.

Settings are those of --cfg-options. `images` stands for the part of the search
split that is scored, `bn_seed` and `bn_images` for the choice and number of
the images for BN statistics, and `scale` for the size of all images. Scores
are kept in the work dir, so that a second call only adds what is new.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config, DictAction
from mmengine.runner import Runner, ValLoop
from rich.console import Console
from rich.table import Table

from detnas_mm.command_line import (
    add_common_arguments,
    load_config,
    run_command,
)
from detnas_mm.compat import setup_compat
from detnas_mm.datasets.nested_subsets import nested_subsets, shuffle_batches
from detnas_mm.engine.candidate_validation import CandidateValidation
from detnas_mm.evaluation import LocalEvaluator
from detnas_mm.evaluation.rank_correlation import kendall
from detnas_mm.structures.files import write_atomically

FULL, OTHER_BN = 'full', 'other images for BN'
HOOK = 'BNRecalibrationHook'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config of a search')
    parser.add_argument('checkpoint', help='checkpoint of its supernet')
    parser.add_argument('--candidates', type=int, default=20)
    parser.add_argument('--seed', type=int, default=0, help='draws the paths')
    parser.add_argument(
        '--protocol',
        nargs='+',
        action='append',
        metavar='KEY=VALUE',
        help='settings of a protocol, repeatable, such as: --protocol '
        'images=0.5 model.test_cfg.nms_pre=100; by default some that fit '
        'the detector',
    )
    parser.add_argument('--json', type=Path, help='write the numbers there')
    add_common_arguments(parser)
    return parser.parse_args()


def default_protocols(config: Config) -> list[dict[str, Any]]:
    """Cheaper protocols for one-stage and two-stage detectors."""
    images = find_hook(config)['num_images']
    test = config.model.test_cfg
    if 'rpn' in test:
        proposals = test.rpn.max_per_img
        boxes = [
            {'model.test_cfg.rpn.max_per_img': proposals // 3},
            {'model.test_cfg.rcnn.max_per_img': test.rcnn.max_per_img // 2},
        ]
    else:
        boxes = [
            {'model.test_cfg.nms_pre': test.nms_pre // 3},
            {'model.test_cfg.max_per_img': test.max_per_img // 2},
        ]
    return [
        *boxes,
        {'images': 0.5},
        {'images': 0.25},
        {'bn_images': images // 4},
        {'scale': 0.75},
        {'val_cfg.fp16': True},
    ]


def find_hook(config: Config) -> dict:
    """Returns the settings of the BN recalibration."""
    for hook in config.custom_hooks:
        if hook['type'].endswith(HOOK):
            return hook
    raise ValueError(f'the config has no {HOOK} among its `custom_hooks`')


def protocol_config(config: Config, settings: Mapping[str, Any]) -> Config:
    """Returns the config of a protocol.

    Raises:
        ValueError: If `scale` is to change and nothing resizes images.
    """
    changed = Config(config.to_dict())
    rest = dict(settings)
    rest.pop('images', None)
    hook = find_hook(changed)
    hook['seed'] = rest.pop('bn_seed', hook.get('seed', 0))
    hook['num_images'] = rest.pop('bn_images', hook['num_images'])
    scale = rest.pop('scale', 1)
    if scale != 1:
        for split in ('train', 'val'):
            rescale(changed[f'{split}_dataloader'].dataset, scale)
    changed.merge_from_dict(rest)
    return changed


def rescale(dataset: dict, scale: float) -> None:
    """Makes the images of a data set smaller."""
    while 'pipeline' not in dataset:
        dataset = dataset['dataset']
    found = [step for step in dataset['pipeline'] if 'scale' in step]
    if not found:
        raise ValueError(
            '`scale` needs a step with a `scale`, such as Resize, in the '
            'pipelines of `train_dataloader` and `val_dataloader`'
        )
    for step in found:
        step['scale'] = tuple(round(scale * side) for side in step['scale'])


def build_runner(config: Config, checkpoint: str, name: str) -> Runner:
    config.launcher = 'none'
    config.load_from = checkpoint
    config.log_level = 'WARNING'
    # Nothing is recorded.
    config.val_cfg.update(worker=True, race=False)
    # By its name the visualizer and the logger of another would be taken.
    config.experiment_name = f'protocol {name} {time.time_ns()}'
    runner = Runner.from_cfg(config)
    runner.call_hook('before_run')
    return runner


def score(
    runner: Runner, paths: Sequence[Sequence[int]], part: float
) -> list[dict[str, float]]:
    """Scores paths on a part of the images; returns scores and seconds."""
    loop = runner.val_loop
    bars, validation = (), loop.validation
    plain = validation.val_loop
    if part < 1:
        # Everybody is dropped there.
        batches = shuffle_batches(loop.dataloader, 0)
        rungs = nested_subsets(batches, [part])
        bars = [(images, np.inf) for images in rungs.values()]
        validation = CandidateValidation(
            runner,
            ValLoop(runner, batches, plain.evaluator, plain.fp16),
            validation.recalibration,
            cache_bytes=2 * 10**9,
            rungs=rungs,
            metric=loop.metric,
        )
    local = LocalEvaluator(validation.score, loop.metric)
    rows = []
    # The first time images are read.
    for index, path in enumerate([paths[0], *paths]):
        start = time.process_time()
        (one,) = local.evaluate([tuple(path)], bars)
        seconds = time.process_time() - start
        if one.error is not None:
            raise RuntimeError(f'path {path} could not be scored: {one.error}')
        value = one.rungs[-1][1] if part < 1 else one.fitness
        if index:
            rows.append(dict(score=value, seconds=seconds))
    return rows


def study(
    config: Config,
    checkpoint: str,
    protocols: Mapping[str, Mapping[str, Any]],
    args: argparse.Namespace,
) -> dict[str, list[dict[str, float]]]:
    """Scores all paths under all protocols, but for what is kept already."""
    file = Path(config.work_dir) / f'protocols_seed{args.seed}.json'
    kept = json.loads(file.read_text()) if file.exists() else {}
    for name, settings in protocols.items():
        if len(kept.get(name, ())) == args.candidates:
            continue
        changed = protocol_config(config, settings)
        runner = build_runner(changed, checkpoint, name)
        paths = draw_paths(runner, args)
        kept[name] = score(runner, paths, settings.get('images', 1))
        write_atomically(file, json.dumps(kept))
    return {name: kept[name] for name in protocols}


def draw_paths(
    runner: Runner, args: argparse.Namespace
) -> list[tuple[int, ...]]:
    """Draws different paths within the constraint."""
    constraint = runner.val_loop.constraint
    constraint.require_legal_paths(args.candidates)
    rng = np.random.default_rng(args.seed)
    paths: dict[tuple[int, ...], None] = {}
    while len(paths) < args.candidates:
        path = constraint.space.random_path(rng)
        if constraint.is_legal(path):
            paths[path] = None
    return list(paths)


def rows_of(scored: Mapping[str, list[dict[str, float]]]) -> list[dict]:
    """Sets each protocol against the full one."""
    full = np.array([one['score'] for one in scored[FULL]])
    full_seconds = np.median([one['seconds'] for one in scored[FULL]])
    rows = []
    for name, results in scored.items():
        scores = np.array([one['score'] for one in results])
        seconds = np.median([one['seconds'] for one in results])
        moves = scores - full
        rows.append(
            {
                'protocol': name,
                'CPU s': float(seconds),
                'cost': float(seconds / full_seconds),
                'Kendall tau': float(kendall(scores, full)),
                'mean score': float(scores.mean()),
                # What moves all alike changes no ranking.
                'scores move by': float(np.std(moves)),
            }
        )
    return rows


def print_table(rows: Sequence[Mapping[str, Any]], candidates: int) -> None:
    table = Table(title=f'{candidates} candidates, against the full protocol')
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


def main() -> None:
    args = parse_args()
    if args.candidates < 3:
        raise ValueError(
            f'--candidates must be at least 3, got {args.candidates}'
        )
    setup_compat()
    config = load_config(args)
    wanted = default_protocols(config)
    if args.protocol is not None:
        wanted = [parse_settings(texts) for texts in args.protocol]
    other = {'bn_seed': find_hook(config).get('seed', 0) + 1}
    protocols = {FULL: {}, OTHER_BN: other} | {
        ', '.join(f'{key}={value}' for key, value in one.items()): one
        for one in wanted
    }
    rows = rows_of(study(config, args.checkpoint, protocols, args))
    print_table(rows, args.candidates)
    if args.json is not None:
        args.json.write_text(json.dumps(rows) + '\n')


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    parser.add_argument('settings', nargs='+', action=DictAction)
    return parser.parse_args(texts).settings


if __name__ == '__main__':
    run_command(main)
