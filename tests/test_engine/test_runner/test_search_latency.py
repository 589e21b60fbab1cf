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
    latency = dict(table=str(file)) | settings.pop('latency', {})
    constraint = dict(latency=latency)
    toy_runner(tmp_path / name, constraint=constraint, **settings).val()
    return SearchRecord.read(tmp_path / name / RECORD)


def test_candidates_keep_the_bound_and_carry_their_latency(tmp_path):
    record = run(tmp_path, latency=dict(min_ms=6, max_ms=7.5))
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
    bounds = dict(max_ms=8)
    before = run(tmp_path, latency=bounds, generations=1)
    again = run(tmp_path, latency=bounds, generations=2, resume=True)
    assert again.candidates[:4] == before.candidates
    other = latency_table(FOUR_BLOCKS, BLOCKS, stem=0.6)
    with pytest.raises(InputError, match='another search: constraint'):
        run(tmp_path, table=other, latency=bounds, resume=True)


@pytest.mark.parametrize(
    ('table', 'latency', 'expected'),
    [
        (TABLE, dict(max_ms=1), '4.500 ms to'),
        (TABLE, dict(min_ms=5, max_ms=4), '`latency.min_ms` must'),
        (TABLE, dict(max_ms='5'), '`val_cfg.constraint.latency.max_ms` must'),
        (TABLE, dict(most=5), "constraint.latency` has no setting 'most'"),
        (TABLE, dict(whole_detector=True), 'no latency of neck and heads'),
        (
            replace(TABLE, check=dict(mape=0.403)),
            {},
            r'failed its check \(bad table: its error is 40%\).*--force',
        ),
        (random_latencies(TWO_BLOCKS), {}, 'with search space'),
        (
            latency_table(FOUR_BLOCKS, BLOCKS, shuffle='interleaved'),
            {},
            'with shuffle interleaved, but the search has grouped',
        ),
        (
            TABLE,
            dict(input_size=(64, 64)),
            r'but the search has \(64, 64\)',
        ),
        (TABLE, dict(table='none.json'), 'none.json'),
        (TABLE, dict(table=None, max_ms=5), 'measure_latency'),
    ],
)
def test_what_is_refused(tmp_path, table, latency, expected):
    with pytest.raises(InputError, match=expected) as error:
        run(tmp_path, table=table, latency=latency)
    assert '\n' not in str(error.value)
    assert not (tmp_path / 'search' / RECORD).exists()


def test_neck_and_heads_are_bounded_too(tmp_path):
    table = replace(TABLE, runtime='onnxruntime', rest=10.0)
    bounds = dict(max_ms=19, whole_detector=True)
    record = run(tmp_path, table=table, latency=bounds)
    for candidate in record.candidates:
        expected = 14.5 + sum(map(int, candidate.path))
        assert candidate.latency == expected <= 19
    assert record.header.constraint['latency_runtime'] == 'onnxruntime'
    assert record.header.constraint['rest_latency'] == 10


def test_a_table_that_failed_its_check_is_forced(tmp_path, capfd):
    fine = replace(TABLE, runtime='openvino')
    run(tmp_path, 'fine', table=fine, generations=1)
    assert 'latency table' not in capfd.readouterr().out
    bad = replace(fine, check=dict(mape=0.403))
    run(tmp_path, 'bad', table=bad, latency=dict(force=True), generations=1)
    assert 'bad table: its error is 40%' in capfd.readouterr().out


def test_a_table_of_eager_mode_warns(tmp_path, capfd):
    run(tmp_path, generations=1)
    assert 'the runtime that is deployed may rank' in capfd.readouterr().out
