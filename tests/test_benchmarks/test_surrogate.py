"""Evaluations until a known best is found."""

import json

import numpy as np
from kit.command_lines import run_here
from kit.digits_runs import ROOT
from kit.records import candidate, header

from detnas_mm.structures import RECORD, SearchRecord, get_search_space

TOOL = ROOT / 'benchmarks' / 'surrogate.py'


def test_evaluations_on_a_table(tmp_path):
    """Of 27 networks, 4 of which are too large, a random search asks all."""
    table = tmp_path / 'table.json'
    nets = {
        f'{first}{second}{third}00000': {
            'mean_acc': float(first + second + third),
            'flops': 62e6 + (first + second + third > 4),
        }
        for first in range(3)
        for second in range(3)
        for third in range(3)
    }
    table.write_text(json.dumps(nets))
    out = tmp_path / 'out.json'
    run_here(
        TOOL,
        *('table', '--table', table, '--seeds', 5, '--population', 4),
        *('--algorithms', 'random', '--json', out),
    )
    (row,) = json.loads(out.read_text())['rows']
    # The first of 3 among 23 in random order comes at 24 / 4 on average.
    assert 1 <= row['mean evaluations'] <= 15
    assert row['most'] <= 21


def test_scores_of_the_digits_are_predicted_from_records(tmp_path):
    """The score of the made record is the number of skipped blocks."""
    space = get_search_space('elastic_tiny')
    paths = space.random_paths(np.random.default_rng(0), 60)
    made = header(search_space=space.to_dict())
    with SearchRecord.open(tmp_path / RECORD, made) as record:
        for index, path in enumerate(paths):
            record.append(
                candidate(
                    index,
                    path=space.format(path),
                    fitness=path.count(3) + 1e-3 * (index % 2),
                )
            )
    out = tmp_path / 'out.json'
    run_here(
        TOOL,
        *('digits', '--records', tmp_path, '--seeds', 1, '--population', 50),
        *('--json', out),
    )
    evolution, surrogate = json.loads(out.read_text())['rows']
    assert (evolution['candidates'], surrogate['candidates']) == (300, 100)
    assert evolution['at least equal'] == 1
    # Within 21M to 23M multiply-adds, fewer than all 13 blocks are skipped.
    for row in evolution, surrogate:
        assert 3 < row['lowest'] <= row['mean best'] < 13
