"""Searches that take over the scores of earlier ones, or end early."""

import shutil

import pytest
from kit.digits_runs import read_candidates, without_seconds
from kit.search_process import RECORD
from kit.spaces import FOUR_BLOCKS
from kit.toy_search import ToyMetric, toy_checkpoint, toy_runner

from detnas_mm.cost import backbone_macs
from detnas_mm.structures import (
    MODEL,
    ModelSummary,
    SearchRecord,
    best_candidate,
)
from detnas_mm.utils.errors import InputError

SURROGATE = dict(type='SurrogateEvolution', population=4, parents=2)


@pytest.fixture(scope='module')
def earlier(tmp_path_factory):
    """The work dir of a search without bounds."""
    work_dir = tmp_path_factory.mktemp('reuse') / 'earlier'
    toy_runner(work_dir).val()
    return work_dir


@pytest.fixture
def search(earlier, tmp_path):
    """Runs a search that reuses it; returns candidates and validations."""

    def run(name='search', **settings):
        scorer = ToyMetric()
        settings = dict(reuse=[str(earlier)], algorithm=SURROGATE) | settings
        checkpoint = settings.pop('checkpoint', earlier.parent / 'toy.pth')
        work_dir = tmp_path / name
        toy_runner(work_dir, scorer, checkpoint=checkpoint, **settings).val()
        return read_candidates(work_dir), scorer.calls

    return run


def median_macs(candidates):
    return sorted(c['macs'] for c in candidates)[len(candidates) // 2]


def test_scores_under_another_bound_are_given_and_not_bought(earlier, search):
    before = read_candidates(earlier)
    bound = median_macs(before)
    after, calls = search(constraint=dict(max_macs=bound))
    assert calls == 12
    given, bought = after[:12], after[12:]
    assert [c['index'] for c in given] == list(range(-12, 0))
    assert {c['origin'] for c in given} == {'reused'}
    assert {c['generation'] for c in given} == {-1}
    scores = {c['path']: c['fitness'] for c in before}
    assert {c['path']: c['fitness'] for c in given} == scores
    for candidate in given:
        path = FOUR_BLOCKS.parse(candidate['path'])
        macs = backbone_macs(FOUR_BLOCKS, path)
        assert candidate['macs'] == macs
        assert candidate['status'] == (
            'complete' if macs <= bound else 'outside'
        )
    assert {c['status'] for c in given} == {'complete', 'outside'}
    assert not {c['path'] for c in bought} & scores.keys()
    assert all(c['macs'] <= bound for c in bought)
    # The scores have taught the model before the first generation.
    assert all('predicted' in c for c in bought)


def test_best_keeps_the_bound(earlier, search, tmp_path):
    before = read_candidates(earlier)
    fittest = max(before, key=lambda c: c['fitness'])
    bound = fittest['macs'] - 1
    search(constraint=dict(max_macs=bound), generations=1)
    record = SearchRecord.read(tmp_path / 'search')
    assert best_candidate(record.candidates).macs <= bound


def test_resumed_after_any_line_it_ends_in_the_same_record(search, tmp_path):
    whole, _ = search()
    model = (tmp_path / 'search' / MODEL).read_text()
    for kept in (3, 12, 17):
        name = f'part{kept}'
        shutil.copytree(tmp_path / 'search', tmp_path / name)
        file = tmp_path / name / RECORD
        lines = file.read_bytes().splitlines(keepends=True)
        file.write_bytes(b''.join(lines[: kept + 1]))
        after, calls = search(name, resume=True)
        assert without_seconds(after) == without_seconds(whole)
        assert calls == 24 - max(kept, 12)
        assert (tmp_path / name / MODEL).read_text() == model
    with pytest.raises(InputError, match=r'algorithm\.reuse'):
        search('part3', resume=True, reuse=[])


def test_a_reused_record_is_reused_again(search, tmp_path):
    search(generations=1)
    after, _ = search(
        'third', reuse=[str(tmp_path / 'search' / RECORD)], generations=1
    )
    assert len(after) == 12 + 4 + 4


def test_scores_of_another_protocol_are_refused(search, tmp_path):
    other = toy_checkpoint(tmp_path / 'other.pth', seed=1)
    for settings, reason in (
        (dict(checkpoint=other), r'by .*toy.pth, .*: checkpoint_digest'),
        (dict(fp16=True), r'config\.fp16: False there, True now'),
        (dict(metric='toy/other'), "metric: 'toy/score' there"),
        (dict(reuse=['nowhere']), 'no record of a search at nowhere'),
    ):
        with pytest.raises(InputError, match=reason):
            search('refused', **settings)
        assert not (tmp_path / 'refused' / RECORD).exists()
    search()
    with pytest.raises(InputError, match='work dir of this search itself'):
        search(reuse=[str(tmp_path / 'search')], resume=True)
    lines = (tmp_path / 'search' / RECORD).read_text().splitlines()
    (tmp_path / RECORD).write_text(f'{lines[0]}\n')
    with pytest.raises(InputError, match='cannot be reused: it has none'):
        search('refused', reuse=[str(tmp_path)])


def test_any_algorithm_learns_from_them(search):
    after, _ = search(
        algorithm=dict(type='Evolution', population=4, parents=2)
    )
    first = [c['origin'] for c in after if c['generation'] == 0]
    # Without them the first generation is random.
    assert 'mutation' in first


def test_the_model_is_written_and_its_gain_logged(search, tmp_path, caplog):
    search()
    folder = tmp_path / 'search'
    summary = ModelSummary.read(folder / MODEL, FOUR_BLOCKS)
    assert summary.candidates == 24
    assert summary.gain >= 0
    # Several objectives have no one gain, and evolution has no model.
    search(objectives=['macs'], overwrite=True)
    assert ModelSummary.read(folder / MODEL, FOUR_BLOCKS).gain is None
    search(
        algorithm=dict(type='Evolution', population=4, parents=2),
        overwrite=True,
    )
    assert ModelSummary.read(folder / MODEL, FOUR_BLOCKS) is None
    (folder / MODEL).write_text('{"candidates": 4, "gain": 0, "effects": []}')
    with pytest.raises(InputError, match=r'model\.json is not the model'):
        ModelSummary.read(folder / MODEL, FOUR_BLOCKS)


@pytest.mark.parametrize(
    'settings',
    [
        dict(algorithm=SURROGATE),
        dict(algorithm=SURROGATE, objectives=['macs']),
        dict(algorithm=SURROGATE, lookahead=1),
    ],
    ids=['fitness', 'objectives', 'lookahead'],
)
def test_patience_ends_a_search_that_finds_nothing(settings, tmp_path):
    constant = ToyMetric(lambda metrics: dict(score=0.5, other=0.5))
    work_dir = tmp_path / 'search'
    toy_runner(work_dir, constant, generations=8, patience=2, **settings).val()
    candidates = read_candidates(work_dir)
    generations = {c['generation'] for c in candidates}
    found = max(
        c['generation']
        for c in candidates
        if c['fitness'] is not None and is_first(c, candidates, settings)
    )
    lookahead = settings.get('lookahead', 0)
    assert max(generations) in range(found + 2, found + 3 + lookahead)
    assert SearchRecord.read(work_dir).header.patience == 2


def is_first(candidate, candidates, settings):
    """True if nothing before it is as good."""
    costs = [c['macs'] for c in candidates if c['index'] < candidate['index']]
    if 'objectives' in settings:
        return not costs or candidate['macs'] < min(costs)
    return not costs
