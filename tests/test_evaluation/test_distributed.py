"""Candidates evaluated by many processes; here each is a thread."""

import threading
import time

import pytest
from kit.spaces import FOUR_BLOCKS
from torch.distributed import HashStore

from detnas_mm.evaluation import (
    DistributedEvaluator,
    Job,
    LocalEvaluator,
    UnknownMetricError,
    job_rank,
)

PATHS = list(FOUR_BLOCKS.all_paths())[:20]


def score(path):
    """Takes longer for some paths, so that they end out of order."""
    time.sleep(0.002 * (sum(path) % 3))
    if path == PATHS[7]:
        raise RuntimeError('broken')
    return {'score': sum(path) / 7}


def run(world_size, generations, scorer=score, metric='score'):
    """Evaluates generations on a job of threads."""
    store = HashStore()

    def evaluator(rank):
        return DistributedEvaluator(
            Job(store, rank, world_size), LocalEvaluator(scorer, metric)
        )

    others = [
        threading.Thread(target=evaluator(rank).serve, daemon=True)
        for rank in range(1, world_size)
    ]
    for other in others:
        other.start()
    controller = evaluator(0)
    try:
        return [list(controller.evaluate(paths)) for paths in generations]
    finally:
        controller.close()
        for other in others:
            other.join(timeout=10)
        assert not any(other.is_alive() for other in others)


def facts(evaluations):
    return [(one.fitness, one.metrics, one.error) for one in evaluations]


@pytest.mark.parametrize('world_size', [1, 2, 5])
def test_results_do_not_depend_on_the_number_of_workers(world_size):
    expected = facts(LocalEvaluator(score, 'score').evaluate(PATHS))
    first, second = run(world_size, [PATHS, PATHS[:3]])
    assert facts(first) == expected
    assert facts(second) == expected[:3]
    assert expected[7][0] is None
    assert 'broken' in expected[7][2]


def test_every_path_is_evaluated_once():
    asked = []

    def scorer(path):
        asked.append(path)
        return {'score': 1.0}

    run(3, [PATHS], scorer)
    assert sorted(asked) == sorted(PATHS)


def test_unknown_metric_ends_the_search():
    with pytest.raises(UnknownMetricError, match='score'):
        run(2, [PATHS], metric='accuracy/top1')


def test_slurm_sets_what_torchrun_would(monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('SLURM_PROCID', '3')
    monkeypatch.setenv('SLURM_NTASKS', '8')
    monkeypatch.setenv('SLURM_LOCALID', '1')
    monkeypatch.delenv('SLURM_NODELIST', raising=False)
    assert job_rank('slurm') == 3
    # What it set is for this test only.
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR'):
        monkeypatch.delenv(name)
    monkeypatch.delenv('MASTER_PORT', raising=False)


def test_a_process_without_launcher_is_explained(monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match='dist_search.sh'):
        job_rank('pytorch')
    assert job_rank('none') == 0
