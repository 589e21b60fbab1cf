"""Candidates that fail: recorded, survived, and in the end enough."""

import itertools
import math

import pytest
from kit.digits_runs import read_candidates, without_seconds
from kit.toy_search import ToyMetric, toy_runner
from mmengine.hooks import Hook

from detnas_mm.structures import SearchRecord


class Failing:
    """Makes some validations fail; counts them from 0."""

    def __init__(self, fails, action):
        self.fails = fails
        self.action = action
        self.call = -1

    def __call__(self, metrics):
        self.call += 1
        return self.action(metrics) if self.call in self.fails else metrics


def crash(metrics):
    raise RuntimeError('no memory left\nlong explanation')


def search(work_dir, fails, action=crash, **settings):
    scorer = ToyMetric(wrap=Failing(fails, action))
    runner = toy_runner(work_dir / 'search', scorer, **settings)
    runner.val()
    return read_candidates(runner.work_dir), scorer.calls


def test_failing_candidate_is_tried_twice_and_recorded(tmp_path):
    candidates, calls = search(tmp_path, fails={1, 2})
    assert calls == 13
    failed = candidates[1]
    assert failed['status'] == 'failed'
    assert failed['fitness'] is None
    assert failed['metrics'] == {}
    assert failed['error'] == 'RuntimeError: no memory left'
    assert [one['status'] for one in candidates].count('failed') == 1
    assert len(candidates) == 12


def test_second_attempt_gives_the_score_of_the_first(tmp_path):
    """A broken-off validation leaves nothing behind, BN least of all."""
    (tmp_path / 'a').mkdir()
    (tmp_path / 'b').mkdir()
    undisturbed, _ = search(tmp_path / 'a', fails=())
    retried, calls = search(tmp_path / 'b', fails={1, 4})
    assert calls == 14
    assert [one['fitness'] for one in retried] == [
        one['fitness'] for one in undisturbed
    ]


@pytest.mark.parametrize('batch', [0, 1])
def test_failed_candidate_leaves_nothing_to_the_next(tmp_path, batch):
    """Predictions of a broken-off validation must not count for others."""
    (tmp_path / 'a').mkdir()
    (tmp_path / 'b').mkdir()
    undisturbed, _ = search(tmp_path / 'a', fails=(), generations=1)
    runner = toy_runner(tmp_path / 'b' / 'search', generations=1)
    calls = itertools.count()

    def out_of_memory(runner, batch_idx, data_batch=None):
        # Two batches for each validation: both attempts of candidate 1.
        if next(calls) in (2 + batch, 3 + 2 * batch):
            raise RuntimeError('no memory left')

    hook = Hook()
    hook.before_val_iter = out_of_memory
    runner.register_hook(hook)
    runner.val()
    candidates = read_candidates(runner.work_dir)
    statuses = [one['status'] for one in candidates]
    assert statuses == ['complete', 'failed', 'complete', 'complete']
    for index in (0, 2, 3):
        assert candidates[index]['fitness'] == undisturbed[index]['fitness']


def test_failed_candidate_is_no_parent(tmp_path):
    """All but one of the first generation fail: it is the only parent."""
    candidates, _ = search(
        tmp_path,
        fails={0, 1, 2, 3, 4, 5},
        generations=2,
        parents=1,
        num_crossover=0,
        mutation_prob=0.01,
    )
    assert [one['status'] for one in candidates[:4]] == ['failed'] * 3 + [
        'complete'
    ]
    children = [one for one in candidates[4:] if one['origin'] == 'mutation']
    assert children
    parent = candidates[3]['path']
    for one in children:
        changed = sum(a != b for a, b in zip(one['path'], parent, strict=True))
        assert changed == 1


@pytest.mark.parametrize(
    ('action', 'error'),
    [
        (lambda m: m | dict(score=math.nan), 'toy/score is nan'),
        (lambda m: m | dict(score=math.inf), 'toy/score is inf'),
        (lambda m: {}, 'predicted nothing'),
    ],
)
def test_fitness_that_is_no_number_is_a_failure(tmp_path, action, error):
    candidates, calls = search(tmp_path, {0, 1}, action, generations=1)
    assert calls == 5
    assert candidates[0]['status'] == 'failed'
    assert error in candidates[0]['error']
    assert candidates[1]['status'] == 'complete'
    # Plain JSON: NaN would be none.
    SearchRecord.read(tmp_path / 'search' / 'search_record.jsonl')


def test_ten_failures_in_a_row_end_the_search(tmp_path):
    work_dir = tmp_path / 'search'
    scorer = ToyMetric(wrap=Failing(range(4, 100), crash))
    with pytest.raises(RuntimeError, match='10 candidates in a row') as error:
        toy_runner(work_dir, scorer, generations=5).val()
    assert 'no memory left' in str(error.value)
    assert len(read_candidates(work_dir)) == 14
    assert scorer.calls == 4 + 2 * 10


def test_what_ended_the_search_is_evaluated_again(tmp_path):
    """The cause was mended: the record is that of an undisturbed search."""
    work_dir = tmp_path / 'search'
    scorer = ToyMetric(wrap=Failing({2, 3, *range(5, 100)}, crash))
    with pytest.raises(RuntimeError, match='--resume'):
        toy_runner(work_dir, scorer, generations=5).val()
    before = read_candidates(work_dir)
    assert [one['status'] for one in before] == [
        *['complete'] * 2,
        'failed',
        'complete',
        *['failed'] * 10,
    ]
    scorer = ToyMetric()
    toy_runner(work_dir, scorer, generations=5, resume=True).val()
    after = read_candidates(work_dir)
    # The one that others followed remains as it is.
    assert after[:4] == before[:4]
    assert {one['status'] for one in after[4:]} == {'complete'}
    assert scorer.calls == 16
    undisturbed, _ = search(tmp_path / 'search', {2, 3}, generations=5)
    assert without_seconds(after) == without_seconds(undisturbed)


def test_fewer_than_ten_failures_remain_failed(tmp_path):
    """They did not end the search: it was stopped by something else."""
    work_dir = tmp_path / 'search'
    toy_runner(work_dir, ToyMetric(), generations=1).val()
    scorer = ToyMetric(wrap=Failing(range(6), stop_after(5)))
    with pytest.raises(KeyboardInterrupt):
        toy_runner(work_dir, scorer, resume=True).val()
    before = read_candidates(work_dir)
    assert [one['status'] for one in before[4:]] == ['failed'] * 2
    toy_runner(work_dir, ToyMetric(), resume=True).val()
    assert read_candidates(work_dir)[:6] == before


def test_first_failures_of_a_killed_search_remain_failed(tmp_path):
    work_dir = tmp_path / 'search'
    scorer = ToyMetric(wrap=Failing(range(6), stop_after(5)))
    with pytest.raises(KeyboardInterrupt):
        toy_runner(work_dir, scorer).val()
    before = read_candidates(work_dir)
    assert [one['status'] for one in before] == ['failed'] * 2
    toy_runner(work_dir, ToyMetric(), resume=True).val()
    assert read_candidates(work_dir)[:2] == before


def stop_after(calls):
    """Fails, then Ctrl-C."""
    left = iter([crash] * (calls - 1))

    def action(metrics):
        next(left, interrupt)(metrics)

    return action


def interrupt(metrics):
    raise KeyboardInterrupt


def test_nine_failures_in_a_row_do_not(tmp_path):
    candidates, _ = search(tmp_path, fails=range(4, 22), generations=4)
    assert [one['index'] for one in candidates if one['error']] == list(
        range(4, 13)
    )
    assert len(candidates) == 16


def test_limit_of_failures_is_a_setting(tmp_path):
    with pytest.raises(RuntimeError, match='2 candidates in a row'):
        search(tmp_path, fails=range(100), max_failures=2)
    assert len(read_candidates(tmp_path / 'search')) == 2


def test_search_of_failures_alone_can_be_gone_on_with(tmp_path):
    paths = dict(algorithm='given', paths=['0123', '3210'])
    with pytest.raises(RuntimeError, match='--resume'):
        search(tmp_path, fails=range(4), **paths)
    candidates, calls = search(tmp_path, fails=(), resume=True, **paths)
    assert calls == 2
    assert [one['path'] for one in candidates] == ['0123', '3210']
    assert {one['status'] for one in candidates} == {'complete'}


def test_search_of_failures_alone_says_so(tmp_path):
    with pytest.raises(RuntimeError, match='all candidates of the search'):
        search(tmp_path, fails=range(100), generations=1)
    assert not (tmp_path / 'search' / 'best.json').exists()
