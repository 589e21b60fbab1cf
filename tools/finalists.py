"""Trains the best candidates of a search and ranks them by the result.

A supernet's score is a first sieve. The best candidates that differ start
from the supernet's weights and are trained by a part of the schedule, beside
an even net and a random one of the same cost. They are ranked by their score
on the search split. The winner is `finalists/best.json` in the work dir of
the search.
"""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.config import Config
from rich.console import Console
from rich.table import Table
from scipy import stats
from search import add_run_arguments, read_executor, run_search

from detnas_mm.compat import setup_compat
from detnas_mm.engine.runner.candidate_training import TEST, seed_key
from detnas_mm.models import exact_cost_table
from detnas_mm.search import even_path, pick_finalists, random_path_near
from detnas_mm.structures import (
    RECORD,
    Candidate,
    SearchRecord,
    SearchSpace,
    Status,
)
from detnas_mm.utils.cli import (
    add_common_arguments,
    is_search,
    load_config,
    run_command,
)
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import write_atomically

FOLDER = 'finalists'
# What each net stands for, by its digits.
NETS = 'nets.json'


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('search', type=Path, help='work dir of the search')
    parser.add_argument(
        '--top', type=int, default=6, help='candidates of the search'
    )
    parser.add_argument(
        '--distance',
        type=int,
        default=2,
        help='blocks in which they differ at least',
    )
    parser.add_argument(
        '--seeds', type=int, default=2, help='trainings of each net'
    )
    parser.add_argument(
        '--share',
        type=float,
        default=0.25,
        help='share of the schedule of the config of the search',
    )
    parser.add_argument(
        '--test',
        action='store_true',
        help='test each net on the test split, too, only to report it',
    )
    add_run_arguments(parser)
    add_common_arguments(parser)
    return parser.parse_args()


def find_config(work_dir: Path) -> Path:
    """Returns the config that a search has written into its work dir.

    Raises:
        InputError: If there is none.
    """
    files = work_dir.glob('*.py')
    for file in sorted(files, key=os.path.getmtime, reverse=True):
        if is_search(Config.fromfile(file).get('val_cfg')):
            return file
    raise InputError(
        f'no config of a search in {work_dir}; give the work dir of '
        'tools/search.py'
    )


def choose(record: SearchRecord, args: argparse.Namespace) -> dict[str, str]:
    """Returns the nets to train: what each stands for, by its digits.

    Raises:
        InputError: If the search has no candidate with a score.
    """
    space = SearchSpace(**record.header.search_space)
    if args.top < 1 or args.distance < 1:
        raise InputError(
            '`--top` and `--distance` must be at least 1, got '
            f'{args.top} and {args.distance}'
        )
    found = pick_finalists(record.candidates, space, args.top, args.distance)
    if not found:
        raise InputError(f'no candidate in {args.search} has a score')
    size = tuple(record.header.constraint['input_size'])
    macs = exact_cost_table(space, size).macs
    target = macs(found[0])
    rng = np.random.default_rng(record.header.seed)
    # Of equal scores the first one wins.
    nets = {
        space.format(path): f'search, {rank}'
        for rank, path in enumerate(found, 1)
    }
    nets.setdefault(space.format(even_path(space, macs, target)), 'even')
    drawn = random_path_near(space, macs, target, rng)
    nets.setdefault(space.format(drawn), 'random')
    return nets


def half_width(candidates: Sequence[Candidate], metric: str) -> float | None:
    """Returns half the 95 % interval of a mean, None with one training.

    The spread between seeds is pooled over all nets.
    """
    scores = np.array(
        [
            [value for key, value in c.metrics.items() if is_seed(key, metric)]
            for c in candidates
        ]
    )
    nets, seeds = scores.shape
    if seeds < 2:
        return None
    spread = np.sqrt(scores.var(axis=1, ddof=1).mean() / seeds)
    return float(stats.t.ppf(0.975, nets * (seeds - 1)) * spread)


def is_seed(key: str, metric: str) -> bool:
    """Returns True for the key of a single training."""
    return key.startswith(seed_key(metric, 0)[:-1])


def print_result(
    nets: dict[str, str], search: SearchRecord, trained: SearchRecord
) -> None:
    """Prints the nets, best first."""
    metric = search.header.metric
    scores = {c.path: c.fitness for c in search.candidates}
    done = [c for c in trained.candidates if c.status is Status.COMPLETE]
    columns = {'trained': metric}
    if any(TEST + metric in candidate.metrics for candidate in done):
        columns['test split'] = TEST + metric
    intervals = {}
    for key in columns.values():
        half = half_width(done, key)
        intervals[key] = '' if half is None else f' ± {half:.4f}'
    space = SearchSpace(**search.header.search_space)
    table = Table(title=f'Trained nets: {metric} on the search split')
    table.add_column('net')
    for column in ('path', 'MACs (M)', 'supernet', *columns):
        table.add_column(column, justify='right')
    for candidate in sorted(done, key=lambda c: (-c.fitness, c.index)):
        score = scores.get(candidate.path)
        table.add_row(
            nets[candidate.path],
            space.format_stages(space.parse(candidate.path)),
            f'{candidate.macs / 1e6:.1f}',
            '' if score is None else f'{score:.4f}',
            *(
                f'{candidate.metrics[key]:.4f}{interval}'
                for key, interval in intervals.items()
            ),
        )
    Console().print(table)


def main() -> None:
    """Runs the command."""
    args = parse_args()
    setup_compat()
    record = SearchRecord.read(args.search)
    args.config = find_config(args.search)
    args.work_dir = args.work_dir or str(args.search / FOLDER)
    nets = choose(record, args)
    config = load_config(args)
    search = config.val_cfg
    # `update` would merge the settings of the algorithm.
    search.algorithm = dict(type='FixedPaths', paths=list(nets))
    search.executor = read_executor(search, args)
    search.training = dict(seeds=args.seeds, share=args.share, test=args.test)
    search.objectives = []
    search.resume, search.overwrite = args.resume, args.overwrite
    search.launcher = args.launcher
    if run_search(config, args.launcher):
        return
    folder = Path(args.work_dir)
    write_atomically(folder / NETS, json.dumps(nets, indent=1) + '\n')
    trained = SearchRecord.read(folder / RECORD)
    print_result(nets, record, trained)


if __name__ == '__main__':
    run_command(main)
