"""What it takes to find a good network among the best by score.

`train WAY` trains the best networks of the ground truth by the scores of a
supernet, from its weights, for a quarter, a half and all of the schedule of
the ground truth. Without a command it trains nothing: it compares what would
be chosen by these trainings with the ground truth.
"""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import digits_nets
import numpy as np
import rank_study
from digits_nets import percentile, results, train_nets
from mmengine.config import Config
from rich.console import Console
from rich.table import Table
from searches import STAGE_2, add_run_options

from detnas_mm.datasets.digits.settings import DigitsSettings
from detnas_mm.utils.cli import run_command
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import write_atomically

FILE = Path(__file__).with_name('digits_finalists.json')
SHARES = (0.25, 0.5, 1.0)
COUNTS = (1, 4, 8, 16)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--nets', type=Path, default=digits_nets.FILE)
    parser.add_argument('--scores', type=Path, default=rank_study.FILE)
    parser.add_argument('--file', type=Path, default=FILE)
    commands = parser.add_subparsers(dest='command')
    train = commands.add_parser('train', help='train the best by score')
    train.add_argument('way', choices=[*rank_study.WAYS])
    train.add_argument('--seed', type=int, required=True)
    add_run_options(train, 'rank_study')
    return parser.parse_args()


def best_by_score(
    nets: Sequence[Mapping], scores: Mapping[str, float], count: int
) -> list[str]:
    """Return the best networks of equal cost, best first."""
    paths = [net['path'] for net in nets if net['group'] == 'band']
    return sorted(paths, key=scores.get, reverse=True)[:count]


def train(args: argparse.Namespace) -> None:
    """Train the best by score and add the results to the file."""
    scores = read_scores(args.scores, args.way, args.seed)
    nets = rank_study.read_nets(args.nets)
    paths = best_by_score(nets, scores, max(COUNTS))
    folder = rank_study.supernet_folder(args.out, args.way, args.seed)
    supernet = rank_study.trained_supernet(folder)
    trainings = {}
    for share in SHARES:
        work_dir = folder / f'finalists_{share}'
        train_nets(supernet, work_dir, paths, shorter_epoch(share), args)
        trainings[str(share)] = {
            path: search for path, (search, _) in results(work_dir).items()
        }
    rows = json.loads(args.file.read_text()) if args.file.exists() else []
    # A second call has more to say than the first.
    rows = [r for r in rows if (r['way'], r['seed']) != (args.way, args.seed)]
    rows.append({'way': args.way, 'seed': args.seed, 'search_map': trainings})
    write_atomically(args.file, json.dumps(rows, indent=1) + '\n')


def shorter_epoch(share: float) -> list[str]:
    """Return the settings of a training by a share of an epoch's images."""
    if share == 1:
        return []
    config = Config.fromfile(STAGE_2)
    images = share * DigitsSettings().train_images
    batches = math.floor(images / config.train_dataloader.batch_size)
    return [f'train_dataloader.num_batch_per_epoch={batches}']


def read_scores(file: Path, way: str, seed: int) -> Mapping[str, float]:
    """Read the scores of a supernet."""
    for row in rank_study.read_scores(file, way):
        if row['seed'] == seed:
            return row['scores']
    raise InputError(
        f'{file} has no scores of {way!r} with seed {seed}; add them by '
        '`rank_study.py score`'
    )


def percentile_reached(
    nets: Sequence[Mapping],
    scores: Mapping[str, float],
    trained: Mapping[str, float],
    count: int,
) -> float:
    """Return the percentile of the network that its training chooses.

    It is the share of the networks of equal cost, in percent, that the ground
    truth does not place above it.
    """
    band = [net for net in nets if net['group'] == 'band']
    truth = {net['path']: np.mean(net['test_map']) for net in band}
    finalists = best_by_score(nets, scores, count)
    chosen = finalists[0] if count == 1 else max(finalists, key=trained.get)
    return percentile(list(truth.values()), truth[chosen])


def report(args: argparse.Namespace) -> None:
    """Print the percentile by number of finalists and share of schedule."""
    nets = rank_study.read_nets(args.nets)
    rows = json.loads(args.file.read_text())
    table = Table(title='Percentile of the chosen network, by supernet')
    for column in ('way', 'finalists', 'schedule', 'cost', 'each', 'mean'):
        table.add_column(column, justify='right')
    for way in dict.fromkeys(row['way'] for row in rows):
        members = [row for row in rows if row['way'] == way]
        for count in COUNTS:
            for share in SHARES if count > 1 else (0,):
                reached = [
                    percentile_reached(
                        nets,
                        read_scores(args.scores, way, row['seed']),
                        row['search_map'][str(share)] if share else {},
                        count,
                    )
                    for row in members
                ]
                table.add_row(
                    way,
                    str(count),
                    f'{share:g}',
                    f'{count * share:g}',
                    ', '.join(f'{value:.0f}' for value in reached),
                    f'{np.mean(reached):.0f}',
                )
    Console(width=100).print(table)


def main() -> None:
    args = parse_args()
    if args.command == 'train':
        train(args)
    elif not args.file.exists():
        raise InputError(f'there is no {args.file}; fill it by `train WAY`')
    else:
        report(args)


if __name__ == '__main__':
    run_command(main)
