"""Tables of latencies on disk, and what they predict."""

import json
from dataclasses import replace

import pytest
from kit.latencies import latency_table, random_latencies
from kit.spaces import FOUR_BLOCKS, TWO_BLOCKS

from detnas_mm.cost import LatencyTable
from detnas_mm.utils.errors import InputError

TABLE = latency_table(TWO_BLOCKS, [[1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4]], 0.5)


def test_prediction_is_the_sum_of_stem_and_blocks():
    assert TABLE.latency((0, 0)) == 1.6
    assert TABLE.latency((3, 1)) == 4.7
    stem, rows = TABLE.in_nanoseconds
    assert stem == 500_000
    assert rows[1] == (100_000, 200_000, 300_000, 400_000)


def test_table_is_read_as_it_was_written(tmp_path):
    table = random_latencies(
        FOUR_BLOCKS, input_size=(800, 1344), threads=4, check={'mape': 0.1}
    )
    table.save(tmp_path / 'table.json')
    read = LatencyTable.load(tmp_path / 'table.json')
    assert read == table
    assert read.digest == table.digest
    fields = json.loads((tmp_path / 'table.json').read_text())
    assert fields['search_space']['stage_channels'] == [8, 16]
    assert fields['input_size'] == [800, 1344]


def test_tables_of_earlier_versions_keep_their_digest(tmp_path):
    """A search with such a table is resumed."""
    new = {'runtime', 'statistic', 'scale', 'rest'}
    TABLE.save(tmp_path / 'old.json')
    assert not new & set(json.loads((tmp_path / 'old.json').read_text()))
    read = LatencyTable.load(tmp_path / 'old.json')
    assert (read.runtime, read.statistic) == ('torch', 'median')
    replace(TABLE, runtime='openvino', scale=1.1, rest=2.0).save(
        tmp_path / 'new.json'
    )
    read = LatencyTable.load(tmp_path / 'new.json')
    assert (read.runtime, read.scale, read.rest) == ('openvino', 1.1, 2.0)


def test_digest_is_of_all_that_matters():
    changes = dict(stem=0.6, device='other', runtime='ncnn', rest=1.0)
    for name, value in changes.items():
        assert replace(TABLE, **{name: value}).digest != TABLE.digest


def test_another_file_is_refused(tmp_path):
    file = tmp_path / 'table.json'
    with pytest.raises(InputError, match='no latency table at.*measure'):
        LatencyTable.load(file)
    for content in ('', '[1]', '{"stem": 1}'):
        file.write_text(content)
        with pytest.raises(InputError, match='is not a latency table.*meas'):
            LatencyTable.load(file)


def test_impossible_table_is_refused():
    for blocks in ([[1, 2, 3, 4]], [[1, 2, 3]] * 2, [[1, 2, 3, 0]] * 2):
        with pytest.raises(InputError, match='`blocks`|positive'):
            latency_table(TWO_BLOCKS, blocks)
    for changes in (dict(rest=0), dict(scale=0), dict(stem=float('inf'))):
        with pytest.raises(InputError, match='positive numbers'):
            replace(TABLE, **changes)
