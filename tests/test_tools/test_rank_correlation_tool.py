"""The table of rank correlations, from records and results."""

import json
from dataclasses import replace

import pytest
from kit.command_lines import run_here
from kit.records import FAILED, candidate, header
from scipy.stats import kendalltau, spearmanr

from detnas_mm.structures import SEARCH_SPACES, SearchRecord

TOOL = 'analysis_tools/rank_correlation.py'
METRIC = 'coco/bbox_mAP'
PATHS = [f'{index:010d}' for index in (0, 1, 2, 3, 10, 11, 12, 13)]
GOOD = [0.1, 0.2, 0.25, 0.4, 0.3, 0.6, 0.7, 0.8]
BAD = [0.5, 0.1, 0.3, 0.2, 0.4, 0.15, 0.45, 0.35]
MACS = [40, 10, 20, 30, 60, 50, 80, 70]
RESULTS = [0.31, 0.33, 0.34, 0.35, 0.36, 0.39, 0.38, 0.41]
QUICK = ('--resamples', 100, '--top-k', 3)


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv('COLUMNS', '140')


def write_record(folder, scores, start=0):
    folder.mkdir()
    file = folder / 'search_record.jsonl'
    space = SEARCH_SPACES['tiny'].to_dict()
    with SearchRecord.open(file, header(search_space=space)) as record:
        for index, score in enumerate(scores):
            number = start + index
            record.append(
                candidate(
                    index,
                    path=PATHS[number],
                    fitness=score,
                    macs=MACS[number],
                    params=100 - number,
                )
            )
    return folder


@pytest.fixture
def good(tmp_path):
    return write_record(tmp_path / 'good', GOOD)


@pytest.fixture
def results(tmp_path):
    file = tmp_path / 'results.json'
    file.write_text(json.dumps(dict(zip(PATHS, RESULTS, strict=True))))
    return file


def test_scores_and_baselines(tmp_path, good, results):
    bad = write_record(tmp_path / 'bad', BAD)
    # Without BN recalibration all scores may be equal.
    flat = write_record(tmp_path / 'flat', [0.0] * 8)
    out = tmp_path / 'ranks.json'
    printed = run_here(
        TOOL, '--scores', 'good', good, '--scores', 'bad', bad,
        '--scores', 'flat', flat, '--results', results, '--out', out, *QUICK,
    )  # fmt: skip
    content = json.loads(out.read_text())
    assert content['metric'] == METRIC
    rankings = {
        'good': GOOD,
        'bad': BAD,
        'macs': MACS,
        'params': [100 - index for index in range(8)],
    }
    assert content['agreement'].keys() == rankings.keys()
    for name, values in rankings.items():
        found = content['agreement'][name]
        tau = kendalltau(values, RESULTS).statistic
        assert found['kendall']['value'] == pytest.approx(tau)
        rho = spearmanr(values, RESULTS).statistic
        assert found['spearman']['value'] == pytest.approx(rho)
        (line,) = (row for row in printed.splitlines() if f'│ {name} ' in row)
        assert f'{tau:.2f} [' in line
        assert f'{rho:.2f} [' in line
        if name != 'macs':
            found = content['beyond_macs'][name]['value']
            of_macs = kendalltau(MACS, RESULTS).statistic
            assert found == pytest.approx(tau - of_macs)
    assert content['agreement']['good']['top_k_recall']['value'] == 1
    assert 'Ranking of 8 trained networks' in printed
    assert 'flat: the same for all networks' in printed
    net = content['networks'][PATHS[3]]
    assert net == dict(
        result=0.35, good=0.4, bad=0.2, flat=0.0, macs=30, params=97
    )


def test_several_records_and_kinds_of_results(tmp_path, good, results):
    """The same numbers from other files give the same table."""

    def table(scores, *results):
        return run_here(TOOL, '--scores', 's', *scores, *results, *QUICK)

    expected = table([good], '--results', results)
    halves = [
        write_record(tmp_path / 'a', GOOD[:5]),
        write_record(tmp_path / 'b', GOOD[5:], start=5)
        / 'search_record.jsonl',
    ]
    by_csv, nets = tmp_path / 'results.csv', []
    lines = [f'path,{METRIC}']
    for path, result in zip(PATHS, RESULTS, strict=True):
        lines.append(f'{path[:2]} {path[2:]},{result}')
        folder = tmp_path / f'test_{path}' / '20260101_000000'
        folder.mkdir(parents=True)
        content = json.dumps({METRIC: result, 'time': 1})
        (folder / '20260101_000000.json').write_text(content)
        nets += ['--net', path, folder.parent]
    by_csv.write_text('\n'.join(lines))
    assert table(halves, '--results', by_csv) == expected
    assert table([good], *nets) == expected


def test_bad_input_is_named(tmp_path, good, refusal):
    """A failed candidate, too: it has no score."""
    file = good / 'search_record.jsonl'
    with SearchRecord.open(file, SearchRecord.read(file).header) as record:
        record.append(replace(FAILED, index=8, path='3333333333'))
    results = tmp_path / 'results.json'
    cases = [
        (['s'], '{}', "a name and records, got 's' with 0"),
        (['macs', good], '{}', "got 'macs'"),
        (['s', good], '{}', '--results or --net'),
        (['s', good], '{"33": 1}', 'no score in s, such as 33'),
        (['s', good], '{"3333333333": 1}', 'such as 3333333333'),
        (['s', good], '{"0000000000": 1}', 'at least 3'),
    ]
    for scores, content, expected in cases:
        results.write_text(content)
        options = ['--metric', METRIC, '--results', results]
        assert expected in refusal(TOOL, '--scores', *scores, *options)
