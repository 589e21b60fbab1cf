"""Count the evaluations that search algorithms need, on known scores.

`table` searches networks whose accuracies are all known (NAS-Bench-Macro,
https://github.com/xiusu/NAS-Bench-Macro: `nas-bench-macro_cifar10.json`) until
one of the three best within a bound is asked for, in the order of the
generation. It also runs Optuna's samplers (`pip install optuna`).
`bounds` does so after a search with a wider bound, whose scores are reused.
`record` searches scores of `small` that are as random as those of real
records, `digits` scores that are predicted from real records, both with their
residual noise. `time` measures one generation.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path

import numpy as np
from measuring import Spread, add_json_option, report
from searches import CONCENTRATION

from detnas_mm.cost import cost_table
from detnas_mm.search import (
    Evolution,
    NoLegalPathError,
    RandomSearch,
    SearchAlgorithm,
    SurrogateEvolution,
)
from detnas_mm.search.score_model import ScoreModel
from detnas_mm.structures import (
    SEARCH_SPACES,
    ArchPath,
    SearchRecord,
    SearchSpace,
    Status,
    get_search_space,
)
from detnas_mm.utils.cli import run_command

# Choice 0 of the table is the identity. Nothing else is known of the choices.
TABLE_SPACE = SearchSpace(2, (4, 6, 8), (2, 3, 3), ('a', 'b', 'c'))
BOUND = 62e6
BEST = 3
ALGORITHMS = {
    'random': RandomSearch,
    'evolution': Evolution,
    'surrogate': SurrogateEvolution,
}
SAMPLERS = ('tpe', 'optuna-gp')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('command', choices=list(COMMANDS))
    parser.add_argument('--table', type=Path, help='the file of the table')
    parser.add_argument(
        '--records',
        type=Path,
        nargs='+',
        help='work dirs of searches in one supernet',
    )
    parser.add_argument(
        '--algorithms',
        nargs='+',
        choices=[*ALGORITHMS, *SAMPLERS],
        default=['evolution', 'surrogate'],
    )
    parser.add_argument('--population', type=int, default=20)
    parser.add_argument('--seeds', type=int, default=200)
    parser.add_argument('--jobs', type=int, default=1, help='processes')
    add_json_option(parser)
    return parser.parse_args()


@cache
def read_table(file: Path, bound: float) -> dict[ArchPath, float]:
    """Read the accuracies of the networks within a bound on FLOPs."""
    return {
        tuple(map(int, digits)): net['mean_acc']
        for digits, net in json.loads(file.read_text()).items()
        if net['flops'] <= bound
    }


def best_paths(scores: Mapping[ArchPath, float]) -> set[ArchPath]:
    """Return the best paths, the earlier ones of the table among equals."""
    return set(sorted(scores, key=lambda path: -scores[path])[:BEST])


def build(name: str, population: int, seed: int, is_legal: Callable) -> object:
    settings = {} if name == 'random' else {'parents': 10}
    return ALGORITHMS[name](
        TABLE_SPACE,
        population=population,
        is_legal=is_legal,
        seed=seed,
        **settings,
    )


def evaluations_until(
    search: SearchAlgorithm,
    score: Callable[[ArchPath], float],
    found: Callable[[ArchPath], bool],
    limit: int,
) -> int:
    """Count the evaluations up to the first path that is found."""
    count = 0
    while count < limit:
        try:
            paths = search.ask()
        except NoLegalPathError:
            break
        for path in paths:
            count += 1
            if found(path):
                return count
        search.tell(paths, [score(path) for path in paths])
    return limit


def search_table(name: str, args: argparse.Namespace, seed: int) -> int:
    """Search the table once; return the evaluations."""
    scores = read_table(args.table, BOUND)
    if name in SAMPLERS:
        return sample_table(name, scores, seed)
    search = build(name, args.population, seed, scores.__contains__)
    best = best_paths(scores)
    return evaluations_until(
        search, scores.__getitem__, best.__contains__, len(scores)
    )


def sample_table(name: str, scores: dict[ArchPath, float], seed: int) -> int:
    """Search the table by a sampler of Optuna.

    A network outside of the bound is not evaluated: the sampler is told that
    it breaks the constraint, and it does not count. Nor does a repetition.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter('ignore')
    broken: dict[int, float] = {}
    settings = dict(
        seed=seed,
        n_startup_trials=20,
        constraints_func=lambda trial: [broken.get(trial.number, 0.0)],
    )
    cls = {
        'tpe': partial(optuna.samplers.TPESampler, multivariate=True),
        'optuna-gp': optuna.samplers.GPSampler,
    }[name]
    if name == 'optuna-gp':
        settings['deterministic_objective'] = True
    study = optuna.create_study(direction='maximize', sampler=cls(**settings))
    best, seen = best_paths(scores), set()
    worst = min(scores.values())
    while len(seen) < 400:
        trial = study.ask()
        path = tuple(
            trial.suggest_categorical(f'block{block}', [0, 1, 2])
            for block in range(TABLE_SPACE.num_blocks)
        )
        if path in scores:
            seen.add(path)
        if path in best:
            return len(seen)
        broken[trial.number] = -1.0 if path in scores else 1.0
        study.tell(trial, scores.get(path, worst))
    return 400


def search_second_bound(name: str, args: argparse.Namespace, seed: int) -> int:
    """Search the table after a search with a wider bound.

    The first search evaluates 300 networks of at most 1.2 times the bound. All
    of its scores are told to the second one.
    """
    wide = read_table(args.table, 1.2 * BOUND)
    scores = read_table(args.table, BOUND)
    first = build(name, args.population, seed, wide.__contains__)
    told: dict[ArchPath, float] = {}
    while len(told) < 300:
        paths = first.ask()
        first.tell(paths, [wide[path] for path in paths])
        told |= {path: wide[path] for path in paths}
    best = best_paths(scores)
    if best & told.keys():
        # Nothing is left to pay for.
        return 0
    second = build(name, args.population, seed + 1_000, scores.__contains__)
    second.tell(list(told), list(told.values()))
    return evaluations_until(
        second, scores.__getitem__, best.__contains__, len(scores)
    )


def each_seed(run: Callable[[int], object], args: argparse.Namespace) -> list:
    """Run a search with each seed."""
    if args.jobs == 1:
        return list(map(run, range(args.seeds)))
    with ProcessPoolExecutor(args.jobs) as pool:
        return list(pool.map(run, range(args.seeds)))


def row_of(name: str, counts: Sequence[int]) -> dict:
    """Summarize the evaluations of an algorithm."""
    row = {
        'algorithm': name,
        'seeds': len(counts),
        'mean evaluations': float(np.mean(counts)),
        'p90': float(np.percentile(counts, 90)),
        'most': max(counts),
    }
    print(row, flush=True)
    return row


def rows_of(
    run: Callable[[str, argparse.Namespace, int], int],
    args: argparse.Namespace,
) -> list[dict]:
    return [
        row_of(name, each_seed(partial(run, name, args), args))
        for name in args.algorithms
    ]


def table_rows(args: argparse.Namespace) -> list[dict]:
    return rows_of(search_table, args)


def bound_rows(args: argparse.Namespace) -> list[dict]:
    return rows_of(search_second_bound, args)


class Regression:
    """Bayesian ridge regression of the scores in records of searches.

    Features are choices and, with `pairs`, pairs of neighboring choices.
    """

    def __init__(self, records: Sequence[Path], pairs: bool = False) -> None:
        from sklearn.linear_model import BayesianRidge

        read = [SearchRecord.read(record) for record in records]
        self.space = get_search_space(read[0].header.search_space)
        self.pairs = pairs
        complete = [
            candidate
            for record in read
            for candidate in record.candidates
            if candidate.status is Status.COMPLETE
        ]
        paths = [self.space.parse(candidate.path) for candidate in complete]
        self.model = BayesianRidge().fit(
            self._features(paths), [c.fitness for c in complete]
        )
        self.residual = float(self.model.alpha_**-0.5)

    def _features(self, paths: Sequence[ArchPath]) -> np.ndarray:
        digits, count = np.array(paths), self.space.num_choices
        features = [np.eye(count)[digits]]
        if self.pairs:
            both = digits[:, :-1] * count + digits[:, 1:]
            features.append(np.eye(count**2)[both])
        return np.hstack([part.reshape(len(digits), -1) for part in features])

    def __call__(self, path: ArchPath) -> float:
        """Predict a score, with a residual that the path always has."""
        noise = np.random.default_rng(path).normal()
        (score,) = self.model.predict(self._features([path]))
        return float(score + self.residual * noise)


class PredictedScores:
    """Scores of paths of `small`, as random as those of a real record.

    The effects of its choices and pairs of neighboring choices are drawn with
    the spread that a ridge regression finds in the record, and each path has a
    residual of its own with the spread of what the regression leaves.
    """

    def __init__(self, regression: Regression, seed: int) -> None:
        self.space = SEARCH_SPACES['small']
        rng = np.random.default_rng((seed, 7))
        spread = float(np.std(regression.model.coef_))
        shape = (self.space.num_blocks, self.space.num_choices)
        self.effects = rng.normal(0, spread, shape)
        self.pairs = rng.normal(0, spread / 2, (*shape, shape[1]))
        self.residual = regression.residual
        self.seed = seed

    def __call__(self, path: ArchPath) -> float:
        blocks = range(len(path))
        score = self.effects[blocks, path].sum()
        score += self.pairs[blocks[1:], path[:-1], path[1:]].sum()
        rng = np.random.default_rng((self.seed, *path))
        return float(score + self.residual * rng.normal())


def search_record(
    regression: Regression, population: int, seed: int
) -> tuple[int, int]:
    """Return the evaluations of both algorithms until an equal score.

    The score is the best of 500 by evolution.
    """
    scores = PredictedScores(regression, seed)
    make = partial(Evolution, scores.space, population=population, seed=seed)
    search, history = make(), []
    while len(history) < 500:
        paths = search.ask()
        history += [scores(path) for path in paths]
        search.tell(paths, history[-len(paths) :])
    target = max(history)
    surrogate = SurrogateEvolution(
        scores.space, population=population, seed=seed
    )
    count = evaluations_until(
        surrogate, scores, lambda path: scores(path) >= target, 500
    )
    return history.index(target) + 1, count


def record_rows(args: argparse.Namespace) -> list[dict]:
    regression = Regression(args.records)
    counts = each_seed(
        partial(search_record, regression, args.population), args
    )
    names = ('evolution', 'surrogate')
    return [
        row_of(name, column)
        for name, column in zip(names, zip(*counts, strict=True), strict=True)
    ]


def best_of(
    search: SearchAlgorithm, score: Callable[[ArchPath], float], limit: int
) -> float:
    """Return the best score of a number of candidates."""
    best, count = -np.inf, 0
    while count < limit:
        paths = search.ask()[: limit - count]
        scores = [score(path) for path in paths]
        search.tell(paths, scores)
        best, count = max(best, *scores), count + len(paths)
    return best


def search_digits(
    regression: Regression, population: int, seed: int
) -> tuple[float, float]:
    """Return the best of 300 by evolution, and of 100 by the surrogate.

    The bounds are those of the search of the digits.
    """
    macs = cost_table(regression.space).macs
    settings = dict(
        population=population,
        seed=seed,
        concentration=CONCENTRATION,
        is_legal=lambda path: 21e6 <= macs(path) <= 23e6,
    )
    return (
        best_of(Evolution(regression.space, **settings), regression, 300),
        best_of(
            SurrogateEvolution(regression.space, **settings), regression, 100
        ),
    )


def digits_rows(args: argparse.Namespace) -> list[dict]:
    regression = Regression(args.records, pairs=True)
    bests = np.array(
        each_seed(partial(search_digits, regression, args.population), args)
    )
    rows = [
        {
            'algorithm': name,
            'candidates': candidates,
            'seeds': args.seeds,
            'mean best': column.mean(),
            'lowest': column.min(),
            'at least equal': int((column >= bests[:, 0]).sum()),
        }
        for name, candidates, column in zip(
            ('evolution', 'surrogate'), (300, 100), bests.T, strict=True
        )
    ]
    for row in rows:
        print(row)
    return rows


def time_rows(args: argparse.Namespace) -> list[dict]:
    space = SEARCH_SPACES['small']
    paths = space.random_paths(np.random.default_rng(0), 1000)
    effects = np.random.default_rng(1).normal(size=(20, 4))
    scores = [float(effects[range(20), path].sum()) for path in paths]
    rows = []
    for name in ('evolution', 'surrogate'):
        seconds = []
        for seed in range(5):
            search = ALGORITHMS[name](space, population=50, seed=seed)
            search.tell(paths, scores)
            start = time.process_time()
            search.ask()
            seconds.append(time.process_time() - start)
        rows.append({'algorithm': name, 'CPU s for 50': Spread.of(seconds)})
    start = time.process_time()
    ScoreModel(space, paths, scores)
    rows.append(
        {
            'algorithm': 'of which the fit',
            'CPU s for 50': Spread.of([time.process_time() - start]),
        }
    )
    return rows


COMMANDS = {
    'table': table_rows,
    'bounds': bound_rows,
    'record': record_rows,
    'digits': digits_rows,
    'time': time_rows,
}


def main() -> None:
    args = parse_args()
    rows = COMMANDS[args.command](args)
    report(f'{args.command}, generations of {args.population}', rows, args)


if __name__ == '__main__':
    run_command(main)
