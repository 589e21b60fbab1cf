"""Candidates that fail, and what else may go wrong in a search."""

import contextlib
import itertools
import json
import math
import shutil
from pathlib import Path

import pytest
from kit.digits_runs import (
    read_candidates,
    run_search,
    search_config,
    without_seconds,
)
from kit.disks import full_disk
from kit.toy_search import ToyMetric, toy_runner
from mmengine.runner import Runner

from detnas_mm.engine.runner.search_loop import FirstCandidateError
from detnas_mm.structures import RECORD, SearchRecord
from detnas_mm.utils.errors import InputError


def crash(metrics):
    raise RuntimeError('out of memory\nlong explanation')


def interrupt(metrics):
    raise KeyboardInterrupt


def failing(calls, action=crash):
    """A metric that does something at some validations, counted from 0."""
    number = itertools.count()
    return ToyMetric(lambda m: action(m) if next(number) in calls else m)


def search(work_dir, calls=(), action=crash, **settings):
    scorer = failing(calls, action)
    toy_runner(work_dir, scorer, **settings).val()
    return read_candidates(work_dir), scorer.calls


def statuses(work_dir):
    return [candidate['status'] for candidate in read_candidates(work_dir)]


@pytest.mark.parametrize(
    ('metrics', 'error'),
    [
        ({'score': math.nan}, 'toy/score is nan'),
        ({'score': -math.inf}, 'toy/score is -inf'),
        ({}, 'predicted nothing'),
    ],
)
def test_fitness_that_is_not_a_number_is_a_failure(tmp_path, metrics, error):
    work_dir = tmp_path / 'search'
    search(work_dir, {0}, lambda _: metrics, generations=1)
    # Valid JSON, which has no NaN.
    first, second, *_ = SearchRecord.read(work_dir / RECORD).candidates
    assert error in first.error
    assert second.error is None


def test_failures_in_a_row_end_the_search_and_are_tried_again(tmp_path):
    """Once the cause is fixed, the record is the undisturbed one."""
    work_dir = tmp_path / 'search'
    message = '10 candidates in a row failed, .*out of memory; .*--resume'
    with pytest.raises(InputError, match=message) as error:
        search(work_dir, {2, 3, *range(5, 100)}, generations=5)
    assert '\n' not in str(error.value)
    before = read_candidates(work_dir)
    assert [c['status'] for c in before] == (
        ['complete'] * 2 + ['failed'] * 2 + ['complete'] + ['failed'] * 10
    )
    after, calls = search(work_dir, resume=True, generations=5)
    assert calls == 20 - 5
    # Failures after which another candidate succeeded stay.
    assert after[:5] == before[:5]
    assert {c['status'] for c in after[5:]} == {'complete'}
    undisturbed, _ = search(tmp_path / 'other', {2, 3}, generations=5)
    assert without_seconds(after) == without_seconds(undisturbed)


def broken(metrics):
    raise TypeError('not a setting')


def test_what_no_path_explains_ends_the_search_at_the_first(tmp_path):
    """Once a candidate has a score, it is due to the path."""
    work_dir = tmp_path / 'search'
    with pytest.raises(FirstCandidateError, match='path .* ended') as error:
        search(work_dir, range(100), broken)
    assert 'in broken' in str(error.value)
    assert statuses(work_dir) == []
    after, _ = search(work_dir, {1}, broken, resume=True)
    assert [c['status'] for c in after] == (
        ['complete', 'failed'] + ['complete'] * 10
    )
    assert after[1]['error'] == 'TypeError: not a setting'


def test_setting_that_mmdet_refuses_ends_the_search(base, tmp_path):
    """mmdet takes this number of boxes, and fails once it computes."""
    config = search_config(base, tmp_path / 'search')
    config.val_evaluator.proposal_nums = (100,)
    with pytest.raises(FirstCandidateError, match='IndexError: list index'):
        Runner.from_cfg(config).val()
    assert statuses(tmp_path / 'search') == []


def test_fewer_failures_stay_failed(tmp_path):
    """Something else ended the search, such as Ctrl-C."""
    work_dir = tmp_path / 'search'
    actions = iter([crash, crash, interrupt])
    with pytest.raises(KeyboardInterrupt):
        search(work_dir, range(3), lambda metrics: next(actions)(metrics))
    before = read_candidates(work_dir)
    assert [c['status'] for c in before] == ['failed'] * 2
    after, calls = search(work_dir, resume=True)
    assert calls == 10
    assert after[:2] == before


def test_search_whose_candidates_all_fail(tmp_path):
    """Also if they are fewer than end a search."""
    work_dir = tmp_path / 'search'
    settings = dict(algorithm=dict(type='FixedPaths', paths=['0123', '3210']))
    with pytest.raises(InputError, match='all candidates.*--resume'):
        search(work_dir, range(100), **settings)
    assert not (work_dir / 'best.json').exists()
    candidates, calls = search(work_dir, resume=True, **settings)
    assert calls == 2
    assert [c['path'] for c in candidates] == ['0123', '3210']
    assert statuses(work_dir) == ['complete'] * 2


def test_unknown_metric_ends_the_search_at_once(tmp_path):
    """The metrics are known after a validation."""
    scorer = ToyMetric()
    runner = toy_runner(tmp_path / 'search', scorer, metric='toy/mAP')
    with pytest.raises(InputError, match='toy/score, toy/other'):
        runner.val()
    assert scorer.calls == 1
    # The corrected search needs no flag: nothing was recorded.
    search(tmp_path / 'search', generations=1)


@pytest.mark.parametrize('room', [0, 50])
def test_full_disk(tmp_path, room):
    """The sixth candidate does not fit: the search ends, and can resume."""
    whole = without_seconds(search(tmp_path / 'whole')[0])
    work_dir = tmp_path / 'search'
    with contextlib.ExitStack() as stack:

        def fill_disk(metrics):
            stack.enter_context(full_disk(work_dir / RECORD, room))
            return metrics

        with pytest.raises(OSError, match='cannot write .*--resume') as error:
            search(work_dir, {5}, fill_disk)
    assert '\n' not in str(error.value)
    assert str(work_dir / RECORD) in str(error.value)
    assert without_seconds(read_candidates(work_dir)) == whole[:5]
    candidates, calls = search(work_dir, resume=True)
    assert calls == 12 - 5
    assert without_seconds(candidates) == whole


def test_unreadable_image_of_the_search_split(base, tmp_path):
    """It is named, and the search resumes once it is readable."""
    config = search_config(base, tmp_path / 'search')
    images = tmp_path / 'images'
    shutil.copytree(base / 'digits' / 'search', images)
    config.val_dataloader.dataset.data_prefix.img = f'{images}/'
    image = sorted(images.iterdir())[3]
    content = image.read_bytes()
    image.write_bytes(b'not an image')
    with pytest.raises(InputError, match='the file is no image') as error:
        Runner.from_cfg(config).val()
    assert image.name in str(error.value)
    assert '\n' not in str(error.value)
    assert statuses(tmp_path / 'search') == []
    image.write_bytes(content)
    config.val_cfg.resume = True
    config.experiment_name += '_again'
    candidates = run_search(config)
    assert [c['status'] for c in candidates] == ['complete'] * 6


@pytest.mark.parametrize('loader', ['val_dataloader', 'train_dataloader'])
def test_empty_split_is_refused(base, tmp_path, loader):
    config = search_config(base, tmp_path / 'search')
    dataset = config[loader].dataset
    file = Path(dataset.data_root, dataset.ann_file)
    content = json.loads(file.read_text()) | dict(images=[], annotations=[])
    dataset.ann_file = str(tmp_path / 'empty.json')
    Path(dataset.ann_file).write_text(json.dumps(content))
    with pytest.raises(InputError, match=f'{loader}` is empty'):
        Runner.from_cfg(config).val()
    assert not (tmp_path / 'search' / RECORD).exists()
