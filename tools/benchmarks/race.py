"""Searches with and without a race, over many seeds: best, regret, images.

Some random paths of a supernet are really scored, on all images and on parts
of them in several orders. From this table a landscape is made that has a score
for every path: the sum of the worths of its choices (a ridge regression), and
what the regression leaves over and the gains from part to whole of a path of
the table, drawn for each path. On it the real search algorithm and the real
race run. Gains of related paths are drawn apart, while really they are alike:
the race has it harder here.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from measuring import Spread, add_json_option, report
from race_table import GRID, Landscape, make_landscape, read_table

from detnas_mm.compat import setup_compat
from detnas_mm.cost import Bounds, Constraint
from detnas_mm.executors.race import Race
from detnas_mm.search import Evolution
from detnas_mm.structures import (
    ArchPath,
    Candidate,
    SearchRecord,
    Status,
    best_candidate,
)
from detnas_mm.utils.cli import add_common_arguments, run_command


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a search')
    parser.add_argument('checkpoint', help='checkpoint of its supernet')
    parser.add_argument(
        '--table', type=Path,
        default=Path('work_dirs/race_table.json'),
        help='scores of the paths; what is missing is added',
    )  # fmt: skip
    parser.add_argument('--candidates', type=int, default=48)
    parser.add_argument(
        '--records', type=Path, nargs='*', default=[],
        help='search_record.jsonl files of the same supernet, to have more '
        'scores on all images',
    )  # fmt: skip
    parser.add_argument(
        '--times',
        type=float,
        default=1.0,
        help='as if there were so many times as many images, of which a part '
        'misleads less, by the square root',
    )
    parser.add_argument('--seeds', type=int, default=20)
    parser.add_argument('--generations', type=int, default=20)
    parser.add_argument('--population', type=int, default=50)
    parser.add_argument('--parents', type=int, default=10)
    parser.add_argument('--risk', type=float, nargs='+', default=[0.05])
    parser.add_argument(
        '--parts', nargs='+', default=['0.125,0.25,0.5'],
        help=f'races to try, parts joined by commas, out of {GRID}',
    )  # fmt: skip
    parser.add_argument(
        '--bn-share', type=float, default=0.1,
        help='images for BN statistics for each one to score; 500 and 5000 '
        'in the paper',
    )  # fmt: skip
    add_json_option(parser)
    add_common_arguments(parser)
    return parser.parse_args()


def evaluate(
    landscape: Landscape,
    path: ArchPath,
    bars: Mapping[int, float],
    seed: int,
    race: Race | None,
    **facts: object,
) -> Candidate:
    """Scores a path until it is dropped."""
    fitness, scores = landscape.score(path, seed)
    rungs: list[tuple[int, float]] = []
    new = partial(
        Candidate, origin='random', path=landscape.space.format(path),
        macs=0, params=0, **facts,
    )  # fmt: skip
    for part in race.parts if race else ():
        rungs.append((round(part * landscape.images), scores[part]))
        images, score = rungs[-1]
        if score < bars.get(images, -np.inf):
            return new(fitness=None, status=Status.DROPPED, rungs=rungs)
    return new(fitness=fitness, rungs=rungs)


def search(
    landscape: Landscape,
    race: Race | None,
    seed: int,
    legal: Callable,
    args: argparse.Namespace,
) -> list[Candidate]:
    """Runs a search on a landscape; returns its candidates."""
    algorithm = Evolution(
        landscape.space,
        population=args.population,
        parents=args.parents,
        is_legal=legal,
        seed=seed,
    )
    candidates: list[Candidate] = []
    for generation in range(args.generations):
        paths = algorithm.ask()
        bars = dict(race.bars(candidates)) if race else {}
        for path in paths:
            candidates.append(
                evaluate(
                    landscape, path, bars, seed, race,
                    index=len(candidates), generation=generation,
                )
            )  # fmt: skip
        new = candidates[-len(paths) :]
        algorithm.tell(paths, [one.fitness for one in new])
    return candidates


def images_of(one: Candidate, images: int) -> int:
    return one.rungs[-1][0] if one.status is Status.DROPPED else images


def compare(
    plain: Sequence[Candidate],
    raced: Sequence[Candidate],
    images: int,
    bn_share: float,
) -> dict[str, float]:
    """Compares two searches of one seed.

    Args:
        plain: The candidates without a race.
        raced: Those with one.
        images: Images of the search split.
        bn_share: Images for BN statistics for each one to score.
    """
    bests = best_candidate(list(plain)), best_candidate(list(raced))
    costs = [
        np.cumsum([images_of(one, images) for one in candidates])
        for candidates in (plain, raced)
    ]
    with_bn = [cost + bn_share * images * np.arange(1, 1 + len(cost))
               for cost in costs]  # fmt: skip
    until = [int(cost[best.index])
             for cost, best in zip(costs, bests, strict=True)]  # fmt: skip
    dropped = [one.status is Status.DROPPED for one in raced]
    return {
        'same best': bests[0].path == bests[1].path,
        'regret': bests[0].fitness - bests[1].fitness,
        'dropped': np.mean(dropped),
        'fewer images': costs[0][-1] / costs[1][-1],
        'fewer, with BN': with_bn[0][-1] / with_bn[1][-1],
        'until its best': until[1],
        'without, until its best': until[0],
    }


def row_of(results: Sequence[Mapping]) -> dict:
    """Sums up the seeds of a race."""
    values = {key: [one[key] for one in results] for key in results[0]}
    same = f'{sum(values.pop("same best"))} of {len(results)}'
    at_least = sum(one <= 0 for one in values['regret'])
    row = {
        'same best': same,
        'at least as good': f'{at_least} of {len(results)}',
        'mean regret': float(np.mean(values.pop('regret'))),
    }
    return row | {key: Spread.of(one) for key, one in values.items()}


def main() -> None:
    args = parse_args()
    args.device, args.threads = 'cpu', 1
    setup_compat()
    torch.set_num_threads(args.threads)
    table = read_table(args)
    scored = [
        one
        for file in args.records
        for one in SearchRecord.read(file).candidates
        if one.status is Status.COMPLETE
    ]
    landscape = make_landscape(table, scored, args.times)
    bounds = Bounds(max_macs=table['max_macs'])
    legal = Constraint(landscape.space, bounds).is_legal
    run = partial(search, landscape, legal=legal, args=args)
    plain = [run(None, seed) for seed in range(args.seeds)]
    rows = []
    for text in args.parts:
        parts = tuple(map(float, text.split(',')))
        for risk in args.risk:
            race = Race(parents=args.parents, parts=parts, risk=risk)
            results = [
                compare(one, run(race, seed), landscape.images, args.bn_share)
                for seed, one in enumerate(plain)
            ]
            rows.append({'parts': text, 'risk': risk} | row_of(results))
    report(
        f'Races over {args.seeds} seeds',
        rows,
        args,
        config=args.config,
        paths_on_parts=len(table['rows']),
        images=landscape.images,
        generations=args.generations,
        population=args.population,
        parents=args.parents,
        paths_scored=len(landscape.left),
        spread_of_fitness=landscape.spread,
        left_by_regression=float(np.std(landscape.left)),
        spread_of_gains={
            part: float(np.mean(np.std(landscape.gains[..., i], axis=0)))
            for i, part in enumerate(landscape.grid)
        },
        bn_share=args.bn_share,
    )


if __name__ == '__main__':
    run_command(main)
