"""Predictions of scores, where the right answer is known."""

import runpy

import numpy as np
import pytest
from kit.command_lines import run_here
from kit.digits_runs import ROOT
from kit.records import candidate, header
from kit.spaces import additive_fitness

from detnas_mm.structures import SEARCH_SPACES, SearchRecord

TOOL = ROOT / 'benchmarks' / 'path_prediction.py'
TINY = SEARCH_SPACES['tiny']


def write_record(folder, fitness, seed, count=60, **changes):
    """The record of random paths."""
    folder.mkdir()
    paths = TINY.random_paths(np.random.default_rng(seed), count)
    first = header(search_space=TINY.to_dict(), **changes)
    file = folder / 'search_record.jsonl'
    with SearchRecord.open(file, first) as record:
        for index, path in enumerate(paths):
            text = TINY.format(path)
            record.append(candidate(index, path=text, fitness=fitness(path)))
    return folder


def noise(path):
    return float(np.random.default_rng(path).normal())


@pytest.mark.parametrize(
    ('fitness', 'low', 'high'),
    [(additive_fitness(TINY, 0), 0.9, 1.0), (noise, -0.3, 0.3)],
    ids=['sum', 'noise'],
)
def test_sums_are_predicted_and_noise_is_not(tmp_path, fitness, low, high):
    tool = runpy.run_path(str(TOOL))
    folders = [
        write_record(tmp_path / str(seed), fitness, seed) for seed in (1, 2)
    ]
    space, candidates = tool['read_candidates'](folders)
    features = tool['one_hot'](space, candidates)
    scores = np.array([candidate.fitness for candidate in candidates])
    assert features.sum(axis=1).tolist() == [10] * 120
    rng = np.random.default_rng(0)
    rounds = [
        tool['held_out'](features, scores, 80, 5, rng) for _ in range(20)
    ]
    tau, kept = np.mean(rounds, axis=0)
    assert low <= tau <= high
    assert (kept == 1) == (low > 0)


def test_table_of_a_record(tmp_path, refusal):
    first = write_record(tmp_path / 'a', noise, 0)
    output = run_here(TOOL, first, '--fitted', 20, 40, '--rounds', 5)
    assert '60 candidates' in output
    assert 'Kendall tau of MACs alone: nan' in output
    other = write_record(tmp_path / 'b', noise, 1, checkpoint_digest='other')
    assert 'checkpoint_digest' in refusal(TOOL, first, other)
