"""Measure how well scores of paths predict the scores of other paths.

A ridge regression on the choices of each block is fitted to some candidates
of one or more searches of a supernet and ranks the remaining ones. If it
ranks them well, a search could skip the children with a low prediction.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import RidgeCV

from detnas_mm.evaluation.rank_correlation import kendall
from detnas_mm.structures import (
    Candidate,
    SearchRecord,
    SearchSpace,
    Status,
    get_search_space,
)
from detnas_mm.utils.cli import run_command
from detnas_mm.utils.errors import InputError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'records', nargs='+', type=Path,
        help='work dirs, or search_record.jsonl files, of searches with the '
        'same supernet',
    )  # fmt: skip
    parser.add_argument(
        '--fitted', type=int, nargs='+', default=[25, 50, 100],
        help='numbers of candidates to fit the model to',
    )  # fmt: skip
    parser.add_argument('--top', type=int, default=5)
    parser.add_argument('--rounds', type=int, default=100)
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


def read_candidates(
    records: Sequence[Path],
) -> tuple[SearchSpace, list[Candidate]]:
    """Read the candidates of searches, each path once.

    Raises:
        InputError: If the searches differ in supernet or protocol.
    """
    read = [SearchRecord.read(path) for path in records]
    first = read[0].header
    for record in read[1:]:
        for name in ('search_space', 'checkpoint_digest', 'config_digest'):
            if getattr(record.header, name) != getattr(first, name):
                raise InputError(
                    f'{record.path} differs from {read[0].path} in '
                    f'`{name}`: give searches of one supernet and protocol'
                )
    candidates = {
        candidate.path: candidate
        for record in read
        for candidate in record.candidates
        if candidate.status is Status.COMPLETE
    }
    return get_search_space(first.search_space), list(candidates.values())


def one_hot(space: SearchSpace, candidates: Sequence[Candidate]) -> np.ndarray:
    """Encode the choices as ``(N, blocks * choices)``."""
    paths = np.array([space.parse(c.path) for c in candidates])
    return np.eye(space.num_choices)[paths].reshape(len(paths), -1)


def held_out(
    features: np.ndarray,
    scores: np.ndarray,
    fitted: int,
    top: int,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Fit the model to some candidates and rank the remaining ones.

    Returns:
        Kendall's tau, and the share of the ``top`` best remaining candidates
        that the better half of the prediction contains.
    """
    order = rng.permutation(len(scores))
    model = RidgeCV(alphas=np.logspace(-2, 3, 20))
    model.fit(features[order[:fitted]], scores[order[:fitted]])
    rest = order[fitted:]
    predicted = model.predict(features[rest])
    is_better_half = predicted >= np.median(predicted)
    best = np.argsort(-scores[rest], kind='stable')[:top]
    return kendall(predicted, scores[rest]), is_better_half[best].mean()


def main() -> None:
    args = parse_args()
    space, candidates = read_candidates(args.records)
    if len(candidates) < max(args.fitted) + 2 * args.top:
        raise InputError(
            f'the searches have {len(candidates)} different candidates: too '
            f'few to fit {max(args.fitted)} and rank 2 * --top more'
        )
    features = one_hot(space, candidates)
    scores = np.array([candidate.fitness for candidate in candidates])
    macs = np.array([candidate.macs for candidate in candidates])
    table = Table(
        title=f'{len(candidates)} candidates, {args.rounds} random '
        'choices of the fitted ones'
    )
    for column in (
        'fitted to', 'Kendall tau of the rest', 'standard deviation',
        f'best {args.top} of the rest in the better half',
    ):  # fmt: skip
        table.add_column(column, justify='right')
    for fitted in args.fitted:
        rng = np.random.default_rng((args.seed, fitted))
        rounds = [
            held_out(features, scores, fitted, args.top, rng)
            for _ in range(args.rounds)
        ]
        taus, kept = np.array(rounds).T
        table.add_row(
            str(fitted),
            f'{np.nanmean(taus):.2f}',
            f'{np.nanstd(taus):.2f}',
            f'{kept.mean():.0%}',
        )
    Console(width=100).print(table)
    print(f'Kendall tau of MACs alone: {kendall(macs, scores):.2f}')


if __name__ == '__main__':
    run_command(main)
