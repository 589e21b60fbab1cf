"""The benchmark of the controller runs a search as the command does."""

import re

import pytest
from kit.command_lines import run_here


@pytest.mark.parametrize('executor', ['local', 'distributed'])
def test_cost_of_a_candidate_is_measured(executor):
    output = run_here(
        'benchmarks/controller_cost.py',
        '--executors',
        executor,
        '--generations',
        '2',
        '--population',
        '12',
    )
    found = re.search(rf'{executor} +([0-9.]+) ms for each', output)
    # Not the minutes of an evaluation, but at least a line on disk.
    assert 0 < float(found[1]) < 5000
