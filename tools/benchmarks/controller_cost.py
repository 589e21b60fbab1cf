"""Measures what a search costs besides its evaluations.

A search of the small space under the paper's bound of 300M multiply-adds, in
which an evaluation takes no time: what remains is to ask, to hand out, to
record on disk, and to tell.
"""

import argparse
import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

from torch.distributed import TCPStore

from detnas_mm.cost import Bounds, Constraint
from detnas_mm.engine.runner.search_run import SearchRun
from detnas_mm.executors.base import (
    CandidateEvaluator,
    LocalEvaluator,
    one_by_one,
)
from detnas_mm.executors.distributed import DistributedEvaluator
from detnas_mm.executors.job import Job
from detnas_mm.executors.journal import Journal
from detnas_mm.executors.ray import RayEvaluator
from detnas_mm.executors.ray_cluster import RaySettings
from detnas_mm.executors.serial import InProcessEvaluator
from detnas_mm.search import Evolution
from detnas_mm.structures import SEARCH_SPACES, SearchHeader, SearchRecord
from detnas_mm.utils.cli import run_command

SMALL = SEARCH_SPACES['small']
SILENT = SimpleNamespace(
    report=lambda *_: None,
    report_generation=lambda *_: None,
    finish=lambda *_: None,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--executors',
        nargs='+',
        choices=['local', 'distributed', 'ray'],
        default=['local', 'distributed', 'ray'],
    )
    parser.add_argument('--generations', type=int, default=20)
    parser.add_argument('--population', type=int, default=50)
    return parser.parse_args()


def score(path: tuple[int, ...]) -> Mapping[str, float]:
    """Scores a path by no work at all."""
    return {'mAP': sum(digit * 0.1**index for index, digit in enumerate(path))}


def local_evaluator() -> LocalEvaluator:
    """Evaluates by no work at all."""
    return LocalEvaluator(one_by_one(score), 'mAP')


@contextlib.contextmanager
def executor(kind: str, journal: Journal) -> Iterator[CandidateEvaluator]:
    """Opens an executor of one worker that is ready."""
    if kind == 'local':
        yield InProcessEvaluator(local_evaluator(), journal)
    elif kind == 'distributed':
        job = Job(TCPStore('127.0.0.1', 0, 1, is_master=True), 0, 1)
        with DistributedEvaluator(
            job, local_evaluator(), journal=journal
        ) as evaluator:
            yield evaluator
    else:
        with RayEvaluator(
            local_evaluator, RaySettings(workers=1), journal=journal
        ) as evaluator:
            list(evaluator.evaluate([(0,) * SMALL.num_blocks]))
            yield evaluator


def measure(kind: str, folder: Path, args: argparse.Namespace) -> float:
    """Returns seconds of this process for each candidate."""
    header = SearchHeader(
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
    constraint = Constraint(SMALL, Bounds(max_macs=300_000_000))
    journal = Journal(folder / 'journal', header.digest)
    with (
        SearchRecord.open(folder / f'{kind}.jsonl', header) as record,
        executor(kind, journal) as evaluator,
    ):
        search = SearchRun(
            algorithm=Evolution(
                SMALL,
                population=args.population,
                is_legal=constraint.is_legal,
            ),
            constraint=constraint,
            evaluator=evaluator,
            record=record,
            progress=SILENT,
            on_best=lambda best: None,
            generations=args.generations,
            lookahead=0,
            max_failures=10,
        )
        start = time.perf_counter()
        search.run()
        seconds = time.perf_counter() - start
    return seconds / (args.generations * args.population)


def main() -> None:
    args = parse_args()
    for kind in args.executors:
        cpu = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            seconds = measure(kind, Path(folder), args)
        cpu = time.process_time() - cpu
        cpu /= args.generations * args.population
        print(
            f'{kind:12} {1000 * seconds:6.2f} ms for each candidate, of which '
            f'{1000 * cpu:.2f} ms CPU in this process'
        )


if __name__ == '__main__':
    run_command(main)
