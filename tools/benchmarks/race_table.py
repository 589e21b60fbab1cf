"""Scores of some paths on parts of the images, and a landscape like them."""

import argparse
import copy
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

import numpy as np
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from sklearn.linear_model import RidgeCV

from detnas_mm.engine.runner.candidate_validation import CandidateValidation
from detnas_mm.engine.runner.quiet import quiet
from detnas_mm.evaluation.faster_coco import faster_coco
from detnas_mm.evaluation.unrounded import unrounded
from detnas_mm.executors.so_far import evaluate_so_far
from detnas_mm.structures import (
    ArchPath,
    Candidate,
    SearchSpace,
    get_search_space,
)
from detnas_mm.utils.cli import load_config
from detnas_mm.utils.files import write_atomically

# In how many orders the images are taken.
ORDERS = 5
# Parts of the images that the table has.
GRID = (0.05, 0.1, 0.125, 0.2, 0.25, 0.35, 0.5, 0.75)


def read_table(args: argparse.Namespace) -> dict:
    """Reads the table, after scoring what is missing."""
    rows = []
    if args.table.exists():
        rows = json.loads(args.table.read_text())['rows']
    if len(rows) < args.candidates:
        args.table.parent.mkdir(parents=True, exist_ok=True)
        fill_table(args, rows)
    return json.loads(args.table.read_text())


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


def build_validation(args: argparse.Namespace) -> CandidateValidation:
    """Builds what scores paths; nothing is recorded."""
    config = load_config(args)
    config.launcher = 'none'
    config.load_from = args.checkpoint
    config.log_level = 'WARNING'
    config.val_cfg.worker = True
    runner = Runner.from_cfg(config)
    runner.call_hook('before_run')
    return runner.val_loop.validation


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
                        [
                            results[i]
                            for i in order[: max(1, round(one * images))]
                        ],
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
        spread: Standard deviation of the scores it is fitted to.
    """

    space: SearchSpace
    images: int
    worth: Callable[[ArchPath], float]
    left: np.ndarray
    gains: np.ndarray
    grid: Sequence[float]
    spread: float

    def score(
        self, path: ArchPath, seed: int
    ) -> tuple[float, Mapping[float, float]]:
        """Returns the fitness of a path and its scores on parts."""
        rng = np.random.default_rng((seed, *path))
        fitness = self.worth(path) + rng.choice(self.left)
        order = seed % self.gains.shape[1]
        gains = self.gains[rng.integers(len(self.gains)), order]
        return fitness, dict(zip(self.grid, fitness - gains, strict=True))


def make_landscape(
    table: Mapping, candidates: Sequence[Candidate], times: float
) -> Landscape:
    """Fits a landscape.

    Args:
        table: Has the gains.
        candidates: Further scored paths of the space, for the regression.
        times: As if the search split had so many times as many images: what
            a part of them misleads shrinks by its square root.
    """
    space = get_search_space(table['space'])
    rows = table['rows']
    scored = {tuple(row['path']): row['fitness'] for row in rows} | {
        space.parse(one.path): one.fitness for one in candidates
    }
    paths = np.array(list(scored))
    fitness = np.array(list(scored.values()))
    one_hot = np.eye(space.num_choices)
    features = one_hot[paths].reshape(len(paths), -1)
    model = RidgeCV(alphas=np.logspace(-2, 3, 30)).fit(features, fitness)
    worth = model.coef_.reshape(space.num_blocks, -1)
    blocks = np.arange(space.num_blocks)
    whole = np.array([row['fitness'] for row in rows])
    gains = whole[:, None, None] - np.array([row['parts'] for row in rows])
    return Landscape(
        space=space,
        images=round(times * table['images']),
        worth=lambda path: float(
            model.intercept_ + worth[blocks, list(path)].sum()
        ),
        left=fitness - model.predict(features),
        gains=gains.mean(axis=0) + (gains - gains.mean(axis=0)) / times**0.5,
        grid=table['grid'],
        spread=float(np.std(fitness)),
    )
