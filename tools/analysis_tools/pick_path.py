"""Print the digits of a path of a search."""

import argparse
from pathlib import Path

from detnas_mm.structures import (
    Candidate,
    Origin,
    SearchRecord,
    Status,
    best_candidate,
)
from detnas_mm.utils.cli import run_command
from detnas_mm.utils.errors import InputError

WHICH = ('best', 'median', 'median-random')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dir', type=Path, help='work dir of the search')
    parser.add_argument(
        'which',
        choices=WHICH,
        help='the best candidate, the one of median fitness, or the median of '
        'the random paths',
    )
    return parser.parse_args()


def pick(candidates: list[Candidate], which: str) -> Candidate:
    """Pick a candidate.

    Raises:
        InputError: If there is none.
    """
    complete = [c for c in candidates if c.status is Status.COMPLETE]
    if which == 'median-random':
        complete = [c for c in complete if c.origin is Origin.RANDOM]
    if not complete:
        raise InputError(f'the search has no {which} candidate yet')
    if which == 'best':
        return best_candidate(complete)
    ranked = sorted(complete, key=lambda c: (c.fitness, c.index))
    return ranked[(len(ranked) - 1) // 2]


def main() -> None:
    args = parse_args()
    record = SearchRecord.read(args.work_dir)
    print(pick(record.candidates, args.which).path)


if __name__ == '__main__':
    run_command(main)
