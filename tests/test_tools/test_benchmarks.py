"""The benchmarks that the page on performance names run to their end."""

import json

import pytest
from kit.command_lines import (
    ALL_BOXES,
    RECALIBRATION,
    config_file,
    loading_options,
    run_here,
)

SEARCH = config_file('retinanet_detnas-search-tiny_fpn_digits')


def result_of(output):
    return json.loads(output.splitlines()[-1])


def test_images_are_read_from_files_and_from_memory():
    output = run_here(
        'benchmarks/image_reading.py',
        *(SEARCH, '--random', 5, '--shape', 64, 96),
        *('--workers', 0, '--rounds', 1),
    )
    rows = result_of(output)['rows']
    assert [row['from'] for row in rows] == ['files, 0 workers', 'memory']
    assert result_of(output)['kept_gb'] > 0


def test_legality_is_checked_in_each_space():
    output = run_here('benchmarks/legality_checks.py', '--rounds', 1)
    assert len(result_of(output)['rows']) == 4


def test_races_are_simulated_from_real_scores(digits, supernet, tmp_path):
    output = run_here(
        'benchmarks/race.py',
        *(SEARCH, supernet, '--candidates', 5, '--seeds', 2),
        *('--table', tmp_path / 'table.json'),
        *('--generations', 2, '--population', 6, '--parents', 2),
        *('--cfg-options', *loading_options(digits, 'train', 'val')),
        *(*RECALIBRATION, *ALL_BOXES),
    )
    result = result_of(output)
    assert result['paths_on_parts'] == 5
    (row,) = result['rows']
    assert row['parts'] == '0.125,0.25,0.5'
    assert row['fewer images']['median'] == pytest.approx(1, abs=1)
