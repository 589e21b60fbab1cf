"""Evaluations until a known best is found."""

import json

from kit.command_lines import run_here
from kit.digits_runs import ROOT

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
