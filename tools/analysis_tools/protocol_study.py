"""Scores the same paths under several protocols: what each costs and keeps.

Against the protocol of the config it prints for each other one the time of a
candidate, Kendall's tau of the two rankings, and how far scores move. The
first of them takes other images for the BN statistics: what moves scores less
than that is as good as the full protocol.

Settings are those of --cfg-options. `images` stands for the part of the search
split that is scored, `bn_seed` and `bn_images` for the choice and number of
the images for BN statistics, and `scale` for the size of all images. Scores
are kept in the work dir, so that a second call of the same study only adds
what is new.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.runner import Runner, ValLoop
from rich.console import Console
from rich.table import Table

from detnas_mm.compat import setup_compat
from detnas_mm.datasets.nested_subsets import (
    first_batches,
    nested_subsets,
    shuffle_batches,
)
from detnas_mm.engine.protocols import (
    default_protocols,
    find_hook,
    protocol_config,
)
from detnas_mm.engine.runner.candidate_validation import CandidateValidation
from detnas_mm.engine.search.header import scoring_text
from detnas_mm.evaluation.rank_correlation import kendall
from detnas_mm.executors.base import LocalEvaluator
from detnas_mm.models.latency import device_name
from detnas_mm.structures import Rungs
from detnas_mm.utils.cli import add_common_arguments, load_config, run_command
from detnas_mm.utils.files import (
    file_digest,
    text_digest,
    write_atomically,
)

FULL, OTHER_BN = 'full', 'other images for BN'


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
    parser.add_argument(
        '--clock',
        choices=['wall', 'cpu'],
        default='wall',
        help='on a shared CPU, `cpu` leaves out the time of others',
    )
    parser.add_argument('--json', type=Path, help='write the numbers there')
    add_common_arguments(parser)
    return parser.parse_args()


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
    runner: Runner, paths: Sequence[Sequence[int]], part: float, clock: str
) -> list[dict[str, float]]:
    """Scores paths on a part of the images; returns scores and seconds."""
    loop = runner.val_loop
    bars, validation = (), loop.validation
    if part < 1:
        validation, bars = validation_of_part(runner, part)
    local = LocalEvaluator(validation.score, loop.metric)
    rows = []
    # The first time images are read.
    for index, path in enumerate([paths[0], *paths]):
        start = time.process_time()
        (one,) = local.evaluate([tuple(path)], bars)
        cpu_seconds = time.process_time() - start
        if one.error is not None:
            raise RuntimeError(f'path {path} could not be scored: {one.error}')
        value = one.rungs[-1][1] if part < 1 else one.fitness
        seconds = cpu_seconds if clock == 'cpu' else one.seconds
        if index:
            rows.append(dict(score=value, seconds=seconds))
    return rows


def validation_of_part(
    runner: Runner, part: float
) -> tuple[CandidateValidation, Rungs]:
    """Returns what reads a part of the images, and drops everybody there.

    By that the part is scored as if it were the whole.
    """
    loop = runner.val_loop
    plain = loop.validation.val_loop
    batches = shuffle_batches(loop.dataloader, 0)
    rungs = nested_subsets(batches, [part])
    ((number, images),) = rungs.items()
    validation = CandidateValidation(
        runner,
        ValLoop(
            runner,
            first_batches(batches, number),
            plain.evaluator,
            plain.fp16,
        ),
        loop.validation.recalibration,
        cache_bytes=2 * 10**9,
        rungs=rungs,
        metric=loop.metric,
        fp16=loop.validation.fp16,
    )
    return validation, ((images, np.inf),)


def study(
    config: Config,
    checkpoint: str,
    protocols: Mapping[str, Mapping[str, Any]],
    args: argparse.Namespace,
) -> dict[str, list[dict[str, float]]]:
    """Scores all paths under all protocols, but for what is kept already."""
    file = Path(config.work_dir) / f'protocols_seed{args.seed}.json'
    kept = json.loads(file.read_text()) if file.exists() else {}
    weights = file_digest(checkpoint)
    for name, settings in protocols.items():
        changed = protocol_config(config, settings)
        study = dict(
            candidates=args.candidates,
            checkpoint=weights,
            config=text_digest(scoring_text(changed)),
            constraint=changed.val_cfg.get('constraint'),
            clock=args.clock,
        )
        if kept.get(name, {}).get('study') == study:
            continue
        runner = build_runner(changed, checkpoint, name)
        paths = draw_paths(runner, args)
        part = settings.get('images', 1)
        rows = score(runner, paths, part, args.clock)
        kept[name] = dict(study=study, rows=rows)
        write_atomically(file, json.dumps(kept))
    return {name: kept[name]['rows'] for name in protocols}


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
                'seconds': float(seconds),
                'cost': float(seconds / full_seconds),
                'Kendall tau': float(kendall(scores, full)),
                'mean score': float(scores.mean()),
                # What moves all alike changes no ranking.
                'scores move by': float(np.std(moves)),
            }
        )
    return rows


def print_table(
    rows: Sequence[Mapping[str, Any]], candidates: int, clock: str
) -> None:
    device = device_name(torch.device(get_device()))
    table = Table(
        title=f'{candidates} candidates, against the full protocol; median '
        f'seconds of a candidate ({clock}, on {device})'
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
    print_table(rows, args.candidates, args.clock)
    if args.json is not None:
        args.json.write_text(json.dumps(rows) + '\n')


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    parser.add_argument('settings', nargs='+', action=DictAction)
    return parser.parse_args(texts).settings


if __name__ == '__main__':
    run_command(main)
