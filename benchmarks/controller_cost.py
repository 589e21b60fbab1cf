"""Measure what a search costs besides its evaluations.

A search of the small space under the paper's bound of 300M multiply-adds, in
which an evaluation takes no time. What remains is to propose paths, to pass
them to the executor, to write the record to disk and to tell the algorithm.
"""

import argparse
import tempfile
import time
from pathlib import Path

from detnas_mm.cost import Bounds, Constraint
from detnas_mm.executors.base import PathEvaluator
from detnas_mm.executors.serial import Serial
from detnas_mm.search import Evolution
from detnas_mm.structures import (
    RECORD,
    SEARCH_SPACES,
    Candidate,
    SearchHeader,
    SearchRecord,
)
from detnas_mm.utils.cli import run_command

SMALL = SEARCH_SPACES['small']
HEADER = SearchHeader(
    config='',
    config_digest='',
    checkpoint='',
    checkpoint_digest='',
    search_space=SMALL.to_dict(),
    constraint={},
    algorithm={},
    metric='mAP',
    seed=0,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--generations', type=int, default=20)
    parser.add_argument('--population', type=int, default=50)
    return parser.parse_args()


def score(path: tuple[int, ...]) -> dict[str, float]:
    """Return metrics of a path without any work."""
    return {'mAP': sum(digit * 0.1**index for index, digit in enumerate(path))}


def search(folder: Path, generations: int, population: int) -> None:
    """Run a search, as the search loop does."""
    constraint = Constraint(SMALL, Bounds(max_macs=300_000_000))
    algorithm = Evolution(
        SMALL, population=population, is_legal=constraint.is_legal
    )
    with (
        SearchRecord.open(folder / RECORD, HEADER) as record,
        Serial(PathEvaluator(score, 'mAP')) as executor,
    ):
        for generation in range(generations):
            proposals = algorithm.propose()
            origins = {p.path: p.origin for p in proposals}
            fitnesses = {}
            for path, result in executor.run([*origins]):
                index = generation * population + len(fitnesses)
                fitnesses[path] = result.fitness
                record.append(
                    Candidate(
                        index=index,
                        generation=generation,
                        origin=origins[path],
                        path=SMALL.format(path),
                        macs=constraint.macs(path),
                        params=constraint.params(path),
                        fitness=result.fitness,
                        metrics=result.metrics,
                        seconds=result.seconds,
                    )
                )
            algorithm.tell([*fitnesses], [*fitnesses.values()])


def main() -> None:
    args = parse_args()
    count = args.generations * args.population
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        search(Path(folder), args.generations, args.population)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(
        f'{1000 * wall / count:.2f} ms per candidate, of which '
        f'{1000 * cpu / count:.2f} ms CPU'
    )


if __name__ == '__main__':
    run_command(main)
