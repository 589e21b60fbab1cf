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
import copy
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path as FilePath
from unittest import mock

import numpy as np
import torch
from candidate_evaluation import build_validation
from measuring import Spread, add_json_option, report
from mmengine.evaluator import Evaluator
from sklearn.linear_model import RidgeCV

from detnas_mm.command_line import add_common_arguments, run_command
from detnas_mm.compat import setup_compat
from detnas_mm.cost import Bounds, Constraint
from detnas_mm.engine.quiet import quiet
from detnas_mm.evaluation import evaluate_so_far, faster_coco, unrounded
from detnas_mm.search import Evolution, Race
from detnas_mm.structures import (
    Candidate,
    Path,
    SearchSpace,
    Status,
    best_candidate,
    get_search_space,
)
from detnas_mm.structures.files import write_atomically

# In how many orders the images are taken.
ORDERS = 5
# Parts of the images that the table has.
GRID = (0.05, 0.1, 0.125, 0.2, 0.25, 0.35, 0.5, 0.75)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a search')
    parser.add_argument('checkpoint', help='checkpoint of its supernet')
    parser.add_argument(
        '--table', type=FilePath,
        default=FilePath('work_dirs/race_table.json'),
        help='scores of the paths; what is missing is added',
    )  # fmt: skip
    parser.add_argument('--candidates', type=int, default=48)
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


@contextmanager
def captured_results(evaluator: Evaluator) -> Iterator[list]:
    """Keeps what an evaluator was given, which it forgets at the end."""
    results: list = []
    evaluate = evaluator.evaluate

    def keep(size: int) -> dict:
        results[:] = evaluator.metrics[0].results
        return evaluate(size)

    with mock.patch.object(evaluator, 'evaluate', keep):
        yield results


def score_of_part(evaluator: Evaluator, results: Sequence, key: str) -> float:
    """Scores some of the images."""
    part = copy.copy(evaluator)
    part.metrics = [copy.copy(evaluator.metrics[0])]
    part.metrics[0].results = list(results)
    return float(evaluate_so_far(part, len(results))[key])


def fill_table(args: argparse.Namespace, rows: list[dict]) -> None:
    """Scores random paths, on the whole and on parts of the images.

    Each row is on disk before the next path is scored.
    """
    validation = build_validation(args)
    runner = validation.runner
    loop = runner.val_loop
    evaluator = validation.val_loop.evaluator
    (metric,) = evaluator.metrics
    space, rng = validation.supernet.search_space, np.random.default_rng(0)
    images = len(loop.dataloader.dataset)
    orders = [rng.permutation(images) for _ in range(ORDERS)]
    facts = dict(
        space=space.to_dict(),
        max_macs=loop.constraint.bounds.max_macs,
        images=images,
        grid=GRID,
    )
    paths = (space.random_path(rng) for _ in itertools.count())
    legal = filter(loop.constraint.is_legal, paths)
    for path in itertools.islice(legal, len(rows), args.candidates):
        with captured_results(evaluator) as results:
            (metrics,) = validation.score([path])
        with unrounded([metric]), faster_coco([metric]), quiet(runner):
            parts = [
                [
                    score_of_part(
                        evaluator,
                        [results[i] for i in order[: round(one * images)]],
                        loop.metric,
                    )
                    for one in GRID
                ]
                for order in orders
            ]
        fitness = metrics[loop.metric]
        rows.append(dict(path=list(path), fitness=fitness, parts=parts))
        write_atomically(args.table, json.dumps(facts | dict(rows=rows)))
        print(f'{space.format(path)} {fitness:.4f}', flush=True)


@dataclass(frozen=True)
class Landscape:
    """A score for every path, like those of a table.

    Attributes:
        space: The search space.
        images: Images of the search split.
        worth: The score of a path by the regression.
        left: What it leaves over, of each row of the table.
        gains: Shape ``(rows, orders, parts)``: whole minus part.
        grid: The parts.
    """

    space: SearchSpace
    images: int
    worth: Callable[[Path], float]
    left: np.ndarray
    gains: np.ndarray
    grid: Sequence[float]

    def score(
        self, path: Path, seed: int
    ) -> tuple[float, Mapping[float, float]]:
        """Returns the fitness of a path and its scores on parts."""
        rng = np.random.default_rng((seed, *path))
        fitness = self.worth(path) + rng.choice(self.left)
        order = seed % self.gains.shape[1]
        gains = self.gains[rng.integers(len(self.gains)), order]
        return fitness, dict(zip(self.grid, fitness - gains, strict=True))


def make_landscape(table: Mapping) -> Landscape:
    """Fits a landscape to a table."""
    space = get_search_space(table['space'])
    rows = table['rows']
    paths = np.array([row['path'] for row in rows])
    fitness = np.array([row['fitness'] for row in rows])
    parts = np.array([row['parts'] for row in rows])
    one_hot = np.eye(space.num_choices)
    features = one_hot[paths].reshape(len(paths), -1)
    model = RidgeCV(alphas=np.logspace(-2, 3, 30)).fit(features, fitness)
    worth = model.coef_.reshape(space.num_blocks, -1)
    blocks = np.arange(space.num_blocks)
    return Landscape(
        space,
        table['images'],
        lambda path: float(model.intercept_ + worth[blocks, path].sum()),
        fitness - model.predict(features),
        fitness[:, None, None] - parts,
        table['grid'],
    )


def evaluate(
    landscape: Landscape, path: Path, bars: Mapping[int, float], seed: int,
    race: Race | None, **facts: object,
) -> Candidate:  # fmt: skip
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
    landscape: Landscape, race: Race | None, seed: int, legal: Callable,
    args: argparse.Namespace,
) -> list[Candidate]:  # fmt: skip
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
    plain: Sequence[Candidate], raced: Sequence[Candidate],
    landscape: Landscape, bn_share: float,
) -> dict[str, float]:  # fmt: skip
    """Compares two searches of one seed."""
    whole = landscape.images
    bests = best_candidate(list(plain)), best_candidate(list(raced))
    costs = [
        np.cumsum([images_of(one, whole) for one in candidates])
        for candidates in (plain, raced)
    ]
    with_bn = [cost + bn_share * whole * np.arange(1, 1 + len(cost))
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


def row_of(name: str, risk: float, results: Sequence[Mapping]) -> dict:
    """Sums up the seeds of a race."""
    values = {key: [one[key] for one in results] for key in results[0]}
    same = f'{sum(values.pop("same best"))} of {len(results)}'
    at_least = sum(one <= 0 for one in values['regret'])
    row = {
        'parts': name,
        'risk': risk,
        'same best': same,
        'at least as good': f'{at_least} of {len(results)}',
        'mean regret': float(np.mean(values.pop('regret'))),
    }
    return row | {key: Spread.of(one) for key, one in values.items()}


def read_table(args: argparse.Namespace) -> dict:
    """Reads the table, after scoring what is missing."""
    rows = []
    if args.table.exists():
        rows = json.loads(args.table.read_text())['rows']
    if len(rows) < args.candidates:
        args.table.parent.mkdir(parents=True, exist_ok=True)
        fill_table(args, rows)
    return json.loads(args.table.read_text())


def main() -> None:
    args = parse_args()
    args.device, args.threads = 'cpu', 1
    setup_compat()
    torch.set_num_threads(args.threads)
    table = read_table(args)
    landscape = make_landscape(table)
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
                compare(one, run(race, seed), landscape, args.bn_share)
                for seed, one in enumerate(plain)
            ]
            rows.append(row_of(text, risk, results))
    report(
        f'Races over {args.seeds} seeds',
        rows,
        args,
        config=args.config,
        paths_in_table=len(table['rows']),
        images=landscape.images,
        generations=args.generations,
        population=args.population,
        parents=args.parents,
        spread_of_fitness=float(
            np.std([row['fitness'] for row in table['rows']])
        ),
        left_by_regression=float(np.std(landscape.left)),
        spread_of_gains={
            part: float(np.mean(np.std(landscape.gains[..., i], axis=0)))
            for i, part in enumerate(landscape.grid)
        },
        bn_share=args.bn_share,
    )


if __name__ == '__main__':
    run_command(main)
