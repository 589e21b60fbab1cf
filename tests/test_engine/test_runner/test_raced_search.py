"""A search whose candidates race."""

import json
import shutil
from collections import Counter

import pytest
from kit.digits_runs import (
    read_candidates,
    run_search,
    search_config,
    without_seconds,
)
from kit.toy_search import METRIC, ToyMetric, toy_runner

from detnas_mm.engine.search.algorithm import build_race

SETTINGS = dict(images=32, generations=5, population=8, parents=3)
# Drops quite some of the toys.
RACE = dict(risk=0.4)
RECORD = 'search_record.jsonl'


def search(work_dir, scorer=None, **settings):
    """Runs a search of 40 candidates on 8 batches; returns them."""
    runner = toy_runner(work_dir, scorer, **(SETTINGS | settings))
    runner.val()
    return read_candidates(runner.work_dir)


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory):
    """The work dir of a race."""
    folder = tmp_path_factory.mktemp('race') / 'race'
    search(folder, race=RACE)
    return folder


def test_who_is_dropped_has_no_fitness_and_who_stays_has_all(work_dir):
    raced = read_candidates(work_dir)
    counts = Counter(one['status'] for one in raced)
    assert counts['dropped'] > 4
    assert set(counts) == {'complete', 'dropped'}
    assert {one['status'] for one in raced[:8]} == {'complete'}
    for one in raced:
        images = [images for images, _ in one['rungs']]
        assert images == [4, 8, 16][: len(images)]
        if one['status'] == 'dropped':
            assert one['fitness'] is one['error'] is None
            assert one['metrics'] == {}
        else:
            assert len(images) == 3
            assert one['metrics'][METRIC] == one['fitness']


def test_survivors_score_as_without_a_race(work_dir):
    paths = {
        one['path']: one['fitness']
        for one in read_candidates(work_dir)
        if one['fitness'] is not None
    }
    folder = work_dir.with_name('plain')
    plain = search(folder, algorithm='given', paths=list(paths))
    for one in plain:
        # The sum of a toy's scores depends on the order of the images.
        assert one['fitness'] == pytest.approx(paths[one['path']], rel=1e-12)
        assert 'rungs' not in one


def test_race_does_not_depend_on_who_shares_a_batch(work_dir, tmp_path):
    for number, settings in enumerate([dict(chunk=3), dict(cache_gb=0)]):
        again = search(
            work_dir.with_name(f'again{number}'), race=RACE, **settings
        )
        assert without_seconds(again) == without_seconds(
            read_candidates(work_dir)
        )


@pytest.mark.parametrize('kept', [3, 8, 13, 29])
def test_race_goes_on_after_any_candidate(work_dir, kept):
    part = work_dir.with_name(f'part{kept}')
    shutil.copytree(work_dir, part)
    lines = (part / RECORD).read_bytes().splitlines(keepends=True)
    (part / RECORD).write_bytes(b''.join(lines[: kept + 1]))
    after = search(part, race=RACE, resume=True)
    assert without_seconds(after) == without_seconds(read_candidates(work_dir))


def test_best_is_one_that_was_scored_to_the_end(work_dir):
    raced = read_candidates(work_dir)
    best = json.loads((work_dir / 'best.json').read_text())
    assert best['status'] == 'complete'
    assert best['fitness'] == max(
        one['fitness'] for one in raced if one['status'] == 'complete'
    )


def test_images_of_the_dropped_are_not_forwarded(work_dir, monkeypatch):
    seen = []
    process = ToyMetric.process
    monkeypatch.setattr(
        ToyMetric,
        'process',
        lambda self, batch, samples: (
            seen.append(len(samples)) or process(self, batch, samples)
        ),
    )
    raced = search(work_dir.with_name('counted'), race=RACE)
    assert sum(seen) == sum(
        32 if one['status'] == 'complete' else one['rungs'][-1][0]
        for one in raced
    )
    assert sum(seen) < 0.9 * 32 * 40


def test_record_of_another_race_is_refused(work_dir):
    part = work_dir.with_name('other')
    shutil.copytree(work_dir, part)
    with pytest.raises(ValueError, match='record of another search.*race'):
        search(part, resume=True)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(algorithm='random'), "'evolution'.*got 'random'"),
        (dict(minimise=['macs']), 'no other has parents'),
        (dict(lookahead=1), '`lookahead` must be 0, got 1'),
        (dict(images=8), '8 images of `val_dataloader` come in 2 batches'),
        (dict(race=dict(part=(0.5,))), 'parts and risk, got part'),
    ],
)
def test_what_a_race_does_not_go_with(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        search(tmp_path / 'a', **(dict(race=True) | settings))


def test_one_setting_switches_it_on():
    assert build_race(False, 4) is None
    assert build_race(True, 4) == build_race({}, 4)
    assert build_race(dict(risk=0.1), 4).risk == 0.1


def test_digits_race(base, tmp_path):
    """mmdet's detector and metric, with a bar that nobody reaches."""
    config = search_config(base, tmp_path / 'race')
    config.val_dataloader.batch_size = 1
    config.val_cfg.update(
        population=5, race=dict(parts=[0.25, 0.5], risk=0.49)
    )
    raced = run_search(config)
    assert [len(one['rungs']) for one in raced[:5]] == [2] * 5
    plain = search_config(base, tmp_path / 'plain')
    plain.val_dataloader.batch_size = 1
    survivors = [one for one in raced if one['status'] == 'complete']
    plain.val_cfg.update(
        algorithm='given', paths=[one['path'] for one in survivors]
    )
    scores = [one['fitness'] for one in run_search(plain)]
    # Bit for bit: COCO's evaluation sorts the images.
    assert scores == [one['fitness'] for one in survivors]
    assert len(set(scores)) > 1
