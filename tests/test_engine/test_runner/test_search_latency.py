"""A search with bounds on the latency."""

import json
from dataclasses import replace

import pytest
from kit.latencies import latency_table, random_latencies
from kit.spaces import FOUR_BLOCKS, TWO_BLOCKS
from kit.toy_search import toy_runner

from detnas_mm.structures import RECORD, SearchRecord
from detnas_mm.utils.errors import InputError

# The path of all zeros takes 4.5 ms; each digit adds its value.
BLOCKS = [[1, 2, 3, 4]] * 4
# Latencies and MACs may be for different sizes.
TABLE = latency_table(FOUR_BLOCKS, BLOCKS, stem=0.5, input_size=(800, 1344))


def run(tmp_path, name='search', table=TABLE, **settings):
    file = tmp_path / 'latencies.json'
    table.save(file)
    constraint = dict(latency_table=str(file)) | settings.pop('constraint', {})
    toy_runner(tmp_path / name, constraint=constraint, **settings).val()
    return SearchRecord.read(tmp_path / name / RECORD)


def test_candidates_keep_the_bound_and_carry_their_latency(tmp_path):
    record = run(tmp_path, constraint=dict(min_latency=6, max_latency=7.5))
    assert len(record.candidates) == 12
    for candidate in record.candidates:
        expected = 4.5 + sum(map(int, candidate.path))
        assert candidate.latency == expected
        assert 6 <= expected <= 7.5
    best = json.loads((tmp_path / 'search' / 'best.json').read_text())
    assert 6 <= best['latency'] <= 7.5
    header = record.header.constraint
    assert header['latency_table'] == TABLE.digest
    assert header['latency_device'] == 'Toy CPU'
    assert header['max_latency'] == 7.5
    assert header['latency_input_size'] == [800, 1344]
    assert header['input_size'] == [224, 224]


def test_resume_needs_the_same_table(tmp_path):
    bounds = dict(max_latency=8)
    before = run(tmp_path, constraint=bounds, generations=1)
    again = run(tmp_path, constraint=bounds, generations=2, resume=True)
    assert again.candidates[:4] == before.candidates
    other = latency_table(FOUR_BLOCKS, BLOCKS, stem=0.6)
    with pytest.raises(InputError, match='another search: constraint'):
        run(tmp_path, table=other, constraint=bounds, resume=True)


@pytest.mark.parametrize(
    ('table', 'constraint', 'expected'),
    [
        (TABLE, dict(max_latency=1), '4.500 ms to'),
        (TABLE, dict(min_latency=5, max_latency=4), '`min_latency`'),
        (random_latencies(TWO_BLOCKS), {}, 'with search space'),
        (
            latency_table(FOUR_BLOCKS, BLOCKS, shuffle='interleaved'),
            {},
            'with shuffle interleaved, but the search has grouped',
        ),
        (
            TABLE,
            dict(latency_input_size=(64, 64)),
            r'but the search has \(64, 64\)',
        ),
        (TABLE, dict(latency_table='none.json'), 'none.json'),
        (TABLE, dict(latency_table=None, max_latency=5), 'measure_latency'),
    ],
)
def test_what_is_refused(tmp_path, table, constraint, expected):
    with pytest.raises(InputError, match=expected) as error:
        run(tmp_path, table=table, constraint=constraint)
    assert '\n' not in str(error.value)
    assert not (tmp_path / 'search' / RECORD).exists()


def test_warns_if_a_table_is_inaccurate(tmp_path, capfd):
    run(tmp_path, 'fine', generations=1)
    assert 'had an error of' not in capfd.readouterr().out
    table = replace(TABLE, check=dict(mape=0.403))
    run(tmp_path, 'bad', table=table, generations=1)
    assert 'had an error of 40%' in capfd.readouterr().out
