"""What the figures show, computed again in a simpler way; its units."""

import math

import pytest
from kit.records import candidate
from kit.searches import synthetic_candidates, synthetic_search
from kit.spaces import TWO_BLOCKS

from detnas_mm.structures import fittest
from detnas_mm.utils.errors import InputError
from detnas_mm.visualization import (
    choice_shares,
    predictions,
    progress,
    timing,
)
from detnas_mm.visualization.theme import duration, magnitude, time_unit


def scored(*fitnesses):
    """One candidate for each fitness, two in each generation."""
    return [
        candidate(
            index,
            generation=index // 2,
            fitness=fitness,
            status='failed' if fitness is None else 'complete',
            error='lost' if fitness is None else None,
        )
        for index, fitness in enumerate(fitnesses)
    ]


def test_progress_follows_the_fittest():
    data = progress(scored(0.1, 0.3, None, 0.2, 0.5, 0.4), top=2)
    assert data.generation == (0, 1, 2)
    assert data.evaluated == (2, 4, 6)
    assert data.best == (0.3, 0.3, 0.5)
    assert data.top_mean == pytest.approx((0.2, 0.25, 0.45))
    assert data.top_worst == (0.1, 0.2, 0.4)


def test_progress_takes_the_top_50_as_the_paper():
    data = progress([candidate(i, fitness=i / 100) for i in range(100)])
    assert data.top_mean == (sum(range(50, 100)) / 100 / 50,)
    assert data.top_worst == (0.5,)


def test_progress_starts_with_the_first_score():
    assert progress([]).generation == ()
    assert progress(scored(None, None)).best == ()
    assert progress(scored(None, None, 0.1)).generation == (1,)


def test_shares_count_the_choices_of_a_generation():
    candidates = [
        candidate(0, generation=0, path='01'),
        candidate(1, generation=0, path='03'),
        candidate(2, generation=2, path='33'),
    ]
    assert choice_shares(candidates, TWO_BLOCKS).tolist() == [
        [[1, 0, 0, 0], [0, 0.5, 0, 0.5]],
        [[0, 0, 0, 1], [0, 0, 0, 1]],
    ]


def test_timing_has_every_candidate():
    data = timing(synthetic_candidates(failed={3}))
    assert data.seconds == tuple(range(12))
    assert (data.median, data.total, data.by_part) == (5.5, 66, {})
    assert timing([]).median == 0


def test_parts_of_the_time_add_up_to_it():
    candidates = [
        candidate(0, seconds=4.0),  # of an older record
        candidate(1, seconds=6.0, seconds_by_part=dict(reading=1, metric=2)),
        candidate(2, seconds=2.0, seconds_by_part=dict(reading=2)),
    ]
    data = timing(candidates)
    assert data.by_part == {
        'reading': (0, 1, 2),
        'metric': (0, 2, 0),
        'other': (4, 3, 0),
    }
    assert data.share('reading') == 0.25


def test_fittest_come_first_the_earlier_among_equals():
    best = fittest(scored(0.1, 0.3, None, 0.3, 0.2), 3)
    assert [c.index for c in best] == [1, 3, 4]


def test_score_has_its_unit():
    assert synthetic_search().score_label == 'coco/bbox_mAP (0\xa0to\xa01)'
    accuracy = synthetic_search(metric='accuracy/top1')
    assert accuracy.score_label == 'accuracy/top1 (%)'


def test_record_of_another_space_is_refused():
    with pytest.raises(InputError, match='6 digits'):
        synthetic_search(candidates=[candidate(0, path='0123')])


def test_numbers_have_three_digits_and_a_unit():
    for function, texts in (
        (
            magnitude,
            {288_082_368: '288M', 38_600_000: '38.6M', 1_269_181_536: '1.27G',
             154_880: '155k', 7: '7', 0: '0'},
        ),
        (
            duration,
            {0.04: '0.0 s', 59.94: '59.9 s', 200: '3 min 20 s',
             3720: '1 h 2 min', 20 * 86400: '20.0 days'},
        ),
        (
            time_unit,
            {0: (1, 's'), 119: (1, 's'), 1700: (60, 'min'), 7200: (3600, 'h')},
        ),
    ):  # fmt: skip
        assert {number: function(number) for number in texts} == texts


def test_predictions_are_compared_with_scores_by_generation():
    scores = [(0.2, None), (0.4, None), (0.5, 0.6), (0.3, 0.2), (0.7, 0.8)]
    candidates = [
        candidate(
            index,
            generation=index // 2,
            fitness=fitness,
            predicted=predicted,
            predicted_std=None if predicted is None else 0.1,
        )
        for index, (fitness, predicted) in enumerate(scores)
    ]
    first, second = predictions(candidates)
    assert (first.generation, first.count, first.tau) == (1, 2, 1.0)
    assert first.gain == pytest.approx(0.6 - 0.4)
    assert [first.error, first.std] == pytest.approx([0.1, 0.1])
    assert second.count == 1
    assert second.gain == pytest.approx(0.8 - 0.5)
    assert math.isnan(second.tau)


def test_reused_candidates_are_given_and_patience_ends_a_search():
    def scored(index, generation, fitness, **changes):
        changes |= dict(generation=generation, fitness=fitness)
        return candidate(index, path='000000', **changes)

    given = [
        scored(-2, -1, 0.9, origin='reused', status='outside'),
        scored(-1, -1, 0.5, origin='reused'),
    ]
    bought = [scored(index, index, 0.1) for index in range(2)]
    search = synthetic_search(candidates=given + bought, planned=8, patience=2)
    assert search.evaluated == bought
    assert search.best == given[1]
    assert progress(search.candidates).best == (0.5, 0.5, 0.5)
    assert progress(search.candidates).evaluated == (0, 1, 2)
    assert search.is_exhausted
    assert not search.is_unfinished
    assert synthetic_search(candidates=bought, planned=8).is_unfinished
    whole = synthetic_search(candidates=bought, planned=2, patience=1)
    assert not whole.is_exhausted
