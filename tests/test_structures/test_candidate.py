"""Candidates as plain data."""

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.records import CANDIDATE, FAILED, candidate

from detnas_mm.structures import Candidate, Origin, best_candidate
from detnas_mm.utils.errors import InputError

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


def read_back(before):
    return Candidate.from_dict(
        json.loads(json.dumps(before.to_dict(), allow_nan=False))
    )


@given(NUMBERS, st.dictionaries(st.text(), NUMBERS), NUMBERS)
def test_round_trip_is_exact_to_the_last_bit(fitness, metrics, seconds):
    before = candidate(3, fitness=fitness, metrics=metrics, seconds=seconds)
    after = read_back(before)
    assert after == before
    # 0.0 == -0.0, so equality alone does not show every bit.
    assert after.fitness.hex() == before.fitness.hex()
    assert {k: v.hex() for k, v in after.metrics.items()} == {
        k: v.hex() for k, v in before.metrics.items()
    }


def test_fields_of_a_line():
    """Readers of a record rely on these names."""
    assert list(CANDIDATE.to_dict()) == [
        'index', 'generation', 'origin', 'path', 'macs', 'params', 'fitness',
        'metrics', 'seconds', 'status', 'error',
    ]  # fmt: skip
    more = candidate(0, latency=1.5, seconds_by_part={'reading': 0.5})
    assert list(more.to_dict())[-4:] == [
        'status', 'error', 'latency', 'seconds_by_part',
    ]  # fmt: skip
    assert read_back(more) == more
    assert read_back(FAILED) == FAILED
    assert CANDIDATE.to_dict()['origin'] == 'random'
    assert CANDIDATE.to_dict()['status'] == 'complete'


def test_contradictions_are_refused():
    for changes, message in (
        (dict(fitness=None), 'fitness'),
        (dict(status='failed'), 'fitness'),
        (dict(fitness=math.nan), 'nan for path 0123'),
        (dict(fitness=math.inf), 'inf for path 0123'),
        (dict(status='running'), 'not a valid'),
        (dict(origin='guess'), 'not a valid'),
    ):
        with pytest.raises(ValueError, match=message):
            candidate(0, **changes)


def test_fields_of_other_versions_are_ignored_and_missing_ones_refused():
    fields = CANDIDATE.to_dict()
    old = fields | {'rungs': [], 'crc32': 'beef', 'origin': 'given'}
    assert Candidate.from_dict(old).origin is Origin.FIXED
    del fields['path']
    with pytest.raises(InputError, match='path'):
        Candidate.from_dict(fields)


def test_best_is_the_earliest_of_the_fittest():
    # Rounded to two decimals, as in another implementation, 1 and 2 tie.
    fitnesses = [0.1, 0.3651, 0.3749, 0.3749, 0.2]
    candidates = [candidate(i, fitness=f) for i, f in enumerate(fitnesses)]
    failed = dataclasses.replace(FAILED, index=5)
    assert best_candidate([*candidates, failed]).index == 2
    assert best_candidate(candidates[::-1]).index == 2
    assert best_candidate([failed]) is None
    assert best_candidate([]) is None
