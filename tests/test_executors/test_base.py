"""The fitness of a candidate, and what is done with failures."""

import math

import numpy as np
import pytest
import torch

from detnas_mm.executors.base import (
    Evaluation,
    LocalEvaluator,
    UnknownMetricError,
    judge,
    one_by_one,
)
from detnas_mm.executors.stopwatch import Stopwatch

METRICS = {
    'coco/bbox_mAP': 0.1 + 0.2,
    'coco/bbox_mAP_50': np.float64(2 / 3),
    'coco/bbox_mAP_s': -1,
    'coco/bbox_mAP_copypaste': '0.300 0.667 -1.000',
    'accuracy/top1': torch.tensor(12.5),
}


def test_fitness_is_the_metric_to_the_last_bit():
    result = judge(METRICS, 'coco/bbox_mAP')
    assert result.fitness == 0.1 + 0.2
    assert result.error is None
    assert result.metrics == {
        'coco/bbox_mAP': 0.1 + 0.2,
        'coco/bbox_mAP_50': 2 / 3,
        'coco/bbox_mAP_s': -1.0,
        'accuracy/top1': 12.5,
    }
    # Plain numbers, which JSON can hold.
    assert {type(value) for value in result.metrics.values()} == {float}
    assert type(judge(METRICS, 'accuracy/top1').fitness) is float


def test_unknown_metric_lists_those_there_are():
    with pytest.raises(UnknownMetricError, match="'coco/mAP'") as error:
        judge(METRICS, 'coco/mAP')
    for metric in METRICS:
        known = metric in str(error.value)
        assert known == ('copypaste' not in metric)


def test_metric_that_is_no_number_is_unknown():
    with pytest.raises(UnknownMetricError):
        judge(METRICS, 'coco/bbox_mAP_copypaste')


def test_further_metrics_are_required():
    further = ('coco/bbox_mAP_50',)
    assert judge(METRICS, 'coco/bbox_mAP', further).fitness == 0.1 + 0.2
    # There is no small object: nothing that could be high.
    result = judge(METRICS, 'coco/bbox_mAP', (*further, 'coco/bbox_mAP_s'))
    assert result.fitness is None
    assert 'coco/bbox_mAP_s is -1' in result.error
    with pytest.raises(UnknownMetricError, match="'coco/mAP_s'"):
        judge(METRICS, 'coco/bbox_mAP', ('coco/mAP_s',))


@pytest.mark.parametrize('value', [math.nan, math.inf, torch.tensor(math.nan)])
def test_metric_that_is_not_finite_is_a_failure(value):
    result = judge({'mAP': value, 'AP50': 0.5}, 'mAP')
    assert result.fitness is None
    assert result.error == f'mAP is {float(value)}'
    assert result.metrics == {'AP50': 0.5}


def test_other_metrics_that_are_not_finite_are_left_out():
    result = judge({'mAP': 0.25, 'loss': math.nan}, 'mAP')
    assert result == Evaluation(0.25, {'mAP': 0.25})


def test_no_metrics_at_all_are_a_failure():
    """What mmdet gives where no box was predicted."""
    result = judge({}, 'coco/bbox_mAP')
    assert result.fitness is None
    assert result.metrics == {}
    assert 'predicted nothing' in result.error


def evaluator(score, metric='mAP', **settings):
    return LocalEvaluator(one_by_one(score), metric, **settings)


class Scores:
    """Scores paths; fails as often as it is told, for each path."""

    def __init__(self, failures, error=None):
        self.failures = dict(failures)
        self.error = error or RuntimeError('out of\nmemory')
        self.calls = []

    def __call__(self, path):
        self.calls.append(path)
        if self.failures.get(path, 0) > 0:
            self.failures[path] -= 1
            raise self.error
        return {'mAP': sum(path) / 10}


def test_paths_are_evaluated_in_turn():
    scores = Scores({})
    results = evaluator(scores).evaluate([(0, 1), (2, 3)])
    # Lazily: a search records each candidate before the next one starts.
    assert next(results).fitness == 0.1
    assert scores.calls == [(0, 1)]
    assert next(results).fitness == 0.5
    assert next(results, None) is None


def test_a_failed_path_is_tried_once_more():
    scores = Scores({(0, 1): 1})
    (result,) = evaluator(scores).evaluate([(0, 1)])
    assert result.fitness == 0.1
    assert result.error is None
    assert scores.calls == [(0, 1)] * 2


def test_a_path_that_fails_again_is_given_up():
    scores = Scores({(0, 1): 99})
    failed, fine = evaluator(scores).evaluate([(0, 1), (2, 3)])
    assert failed.fitness is None
    assert failed.metrics == {}
    # In one line.
    assert failed.error == 'RuntimeError: out of'
    assert fine.fitness == 0.5
    assert scores.calls == [(0, 1), (0, 1), (2, 3)]


@pytest.mark.parametrize('attempts', [1, 3])
def test_number_of_attempts(attempts):
    scores = Scores({(0,): 99})
    (result,) = evaluator(scores, attempts=attempts).evaluate([(0,)])
    assert result.error
    assert len(scores.calls) == attempts


def test_error_without_text():
    scores = Scores({(0,): 99}, ValueError())
    (result,) = evaluator(scores).evaluate([(0,)])
    assert result.error == 'ValueError: '


@pytest.mark.parametrize('error', [KeyboardInterrupt, SystemExit])
def test_the_user_may_stop_it(error):
    scores = Scores({(0,): 99}, error())
    with pytest.raises(error):
        next(evaluator(scores).evaluate([(0,)]))
    assert len(scores.calls) == 1


def test_an_unknown_metric_ends_the_search_at_once():
    """It is a mistake of the config: no candidate could be judged."""
    scores = Scores({})
    with pytest.raises(UnknownMetricError, match='mAP'):
        next(evaluator(scores, 'AP').evaluate([(0,), (1,)]))
    assert len(scores.calls) == 1


def test_time_of_all_attempts_counts(monkeypatch):
    times = iter([100.0, 101.5, 200.0, 206.0])
    monkeypatch.setattr('time.perf_counter', lambda: next(times))
    scores = Scores({(0,): 1})
    (result,) = evaluator(scores).evaluate([(0,)])
    assert result.seconds == 7.5


class Together:
    """Scores paths together; notes which they were."""

    def __init__(self, failures):
        self.calls = []
        self._score = one_by_one(Scores(failures))

    def __call__(self, paths, bars=()):
        self.calls.append(list(paths))
        return self._score(paths)


PATHS = [(0, 1), (2, 3), (1, 1), (3, 3), (0, 0)]


def test_paths_of_a_chunk_are_scored_together():
    scores = Together({})
    results = LocalEvaluator(scores, 'mAP', chunk=2).evaluate(PATHS)
    assert next(results).fitness == 0.1
    assert scores.calls == [PATHS[:2]]
    assert [one.fitness for one in results] == [0.5, 0.2, 0.6, 0.0]
    assert scores.calls == [PATHS[:2], PATHS[2:4], PATHS[4:]]


def test_a_failed_path_of_a_chunk_is_tried_again_alone():
    scores = Together({PATHS[0]: 1, PATHS[2]: 99})
    results = LocalEvaluator(scores, 'mAP', chunk=4).evaluate(PATHS[:4])
    assert [one.fitness for one in results] == [0.1, 0.5, None, 0.6]
    assert scores.calls == [PATHS[:4], [PATHS[0]], [PATHS[2]]]


def test_paths_of_a_chunk_share_its_time(monkeypatch):
    times = iter([100.0, 108.0, 200.0, 201.0])
    monkeypatch.setattr('time.perf_counter', lambda: next(times))
    scores = Together({PATHS[1]: 1})
    results = LocalEvaluator(scores, 'mAP', chunk=4).evaluate(PATHS[:4])
    assert [one.seconds for one in results] == [2.0, 3.0, 2.0, 2.0]


class TimedScores(Scores):
    """Scores paths and says what each part took."""

    def __init__(self, failures):
        super().__init__(failures)
        self.stopwatch = Stopwatch()

    def together(self, paths, bars=()):
        self.stopwatch.seconds = {'reading': 2.0, 'metric': len(paths)}
        return one_by_one(self)(paths)


def test_parts_of_the_time_are_shared_and_added_up():
    scores = TimedScores({PATHS[1]: 1, PATHS[2]: 99})
    results = LocalEvaluator(
        scores.together, 'mAP', chunk=4, stopwatch=scores.stopwatch
    ).evaluate(PATHS[:4])
    once = {'reading': 0.5, 'metric': 1.0}
    twice = {'reading': 2.5, 'metric': 2.0}
    assert [one.seconds_by_part for one in results] == [
        once, twice, twice, once,
    ]  # fmt: skip


@pytest.mark.parametrize('setting', ['attempts', 'chunk'])
def test_settings_out_of_range(setting):
    with pytest.raises(ValueError, match=f'`{setting}`.*at least 1, got 0'):
        LocalEvaluator(Together({}), 'mAP', **{setting: 0})
