"""The fitness of a path, and what an evaluation does with failures."""

import math

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from detnas_mm.executors.base import (
    PathEvaluator,
    Result,
    describe,
    read_metrics,
)
from detnas_mm.structures import Status
from detnas_mm.utils.errors import InputError

METRICS = {
    'coco/bbox_mAP': 0.1 + 0.2,
    'coco/bbox_mAP_50': np.float64(2 / 3),
    'coco/bbox_mAP_s': -1,
    'coco/bbox_mAP_copypaste': '0.300 0.667 -1.000',
    'accuracy/top1': torch.tensor(12.5),
}


def test_fitness_is_the_metric_to_the_last_bit():
    result = read_metrics(METRICS, 'coco/bbox_mAP')
    assert result.fitness == 0.1 + 0.2
    assert result.error is None
    assert result.status is Status.COMPLETE
    assert result.metrics == {
        'coco/bbox_mAP': 0.1 + 0.2,
        'coco/bbox_mAP_50': 2 / 3,
        'coco/bbox_mAP_s': -1.0,
        'accuracy/top1': 12.5,
    }
    # Plain numbers, which JSON can hold.
    assert {type(value) for value in result.metrics.values()} == {float}
    assert type(read_metrics(METRICS, 'accuracy/top1').fitness) is float


@pytest.mark.parametrize('name', ['coco/mAP', 'coco/bbox_mAP_copypaste'])
def test_unknown_metric_is_refused_with_the_known_ones(name):
    with pytest.raises(InputError, match=f"'{name}', choose") as error:
        read_metrics(METRICS, name)
    assert str(error.value).endswith(
        'choose one of coco/bbox_mAP, coco/bbox_mAP_50, coco/bbox_mAP_s, '
        'accuracy/top1'
    )


def test_further_objectives_are_required():
    further = ('coco/bbox_mAP_50',)
    assert read_metrics(METRICS, 'coco/bbox_mAP', further).fitness == 0.1 + 0.2
    # COCO's -1 stands for nothing to find.
    small = (*further, 'coco/bbox_mAP_s')
    with pytest.raises(InputError, match='coco/bbox_mAP_s is -1'):
        read_metrics(METRICS, 'coco/bbox_mAP', small)
    with pytest.raises(InputError, match="'coco/mAP_s'"):
        read_metrics(METRICS, 'coco/bbox_mAP', ('coco/mAP_s',))


def test_minus_one_of_other_metrics_is_a_fitness():
    assert read_metrics({'own/score': -1}, 'own/score').fitness == -1


@pytest.mark.parametrize('value', [math.nan, math.inf, torch.tensor(math.nan)])
def test_metric_that_is_not_finite_is_a_failure(value):
    result = read_metrics({'mAP': value, 'AP50': 0.5}, 'mAP')
    assert result == Result(
        None, {'AP50': 0.5}, error=f'mAP is {float(value)}'
    )
    # Other metrics are left out.
    result = read_metrics({'mAP': 0.25, 'loss': value}, 'mAP')
    assert result == Result(0.25, {'mAP': 0.25})


def test_no_metrics_are_a_failure():
    """mmdet returns none if no box was predicted."""
    result = read_metrics({}, 'coco/bbox_mAP')
    assert result.fitness is None
    assert 'predicted nothing' in result.error


def raising(error):
    def score(path):
        raise error

    return PathEvaluator(score, 'mAP')


def test_exception_is_a_failure_in_one_line():
    result = raising(RuntimeError('out of\nmemory'))((0, 1))
    assert result.fitness is None
    assert result.metrics == {}
    assert result.error == 'RuntimeError: out of'
    # It depends on the path: later ones may need less memory.
    error = RuntimeError('CUDA error: out of memory')
    assert raising(error)((0,)).error


def test_traceback_is_kept_where_other_paths_may_fail_as_well():
    assert "KeyError: 'x'" in raising(KeyError('x'))((0,)).traceback
    for error in (FloatingPointError('loss is nan'), MemoryError('1 GB')):
        result = raising(error)((0,))
        assert result.status is Status.FAILED
        assert not result.traceback


@pytest.mark.parametrize(
    'error',
    [
        InputError('an image cannot be read'),
        KeyboardInterrupt(),
        SystemExit(),
        RuntimeError('CUDA error: an illegal memory access'),
    ],
)
def test_what_ends_the_process(error):
    """After an error of the device every path would fail."""
    with pytest.raises(type(error)):
        raising(error)((0,))


def test_unknown_metric_ends_the_search():
    with pytest.raises(InputError, match='choose one of AP'):
        PathEvaluator(lambda path: {'AP': 1}, 'mAP')((0,))


def test_seconds_are_measured_in_all_and_by_part(monkeypatch):
    times = iter([100.0, 101.5])
    monkeypatch.setattr('time.perf_counter', lambda: next(times))
    parts = {'reading': 0.5, 'metric': 1.0}
    evaluate = PathEvaluator(
        lambda path: {'mAP': 1}, 'mAP', seconds_by_part=lambda: parts
    )
    result = evaluate((0,))
    assert result.seconds == 1.5
    assert result.seconds_by_part == parts


class BrokenImages:
    """A data set whose images cannot be read."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise OSError(f'image {index} is\ntruncated: a.jpg')


def test_description_of_an_error():
    assert describe(ValueError('lost\nin detail')) == 'ValueError: lost'
    assert describe(ValueError()) == 'ValueError: '
    # Of a worker of a data loader: the cause, not its traceback.
    with pytest.raises(OSError, match='worker') as error:
        next(iter(DataLoader(BrokenImages(), num_workers=1)))
    assert describe(error.value) == 'OSError: image 0 is'
