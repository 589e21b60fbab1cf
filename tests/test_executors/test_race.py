"""Which candidates a race drops, on a synthetic metric."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.records import candidate

from detnas_mm.executors.race import Race, likely_most
from detnas_mm.structures import Status

PARTS = {50: 0.04, 100: 0.02, 200: 0.01}


def simulate(rng, count, *, mean=0.3, spread=0.02, ease=0.05, noise=PARTS):
    """True fitnesses, and scores on parts: easier, and noisier."""
    fitness = rng.normal(mean, spread, count)
    rungs = [
        [(n, f + ease + rng.normal(0, sd)) for n, sd in noise.items()]
        for f in fitness
    ]
    return fitness, rungs


def first_generation(rng, count=50, start=0, generation=0, **settings):
    fitness, rungs = simulate(rng, count, **settings)
    return [
        candidate(start + i, generation=generation, fitness=f, rungs=r)
        for i, (f, r) in enumerate(zip(fitness, rungs, strict=True))
    ]


def dropped(bars, rungs):
    return any(score < dict(bars)[images] for images, score in rungs)


@pytest.mark.parametrize('risk', [0.05, 0.3])
@pytest.mark.parametrize('noise', [0.2, 1.0])
def test_a_candidate_as_good_as_the_last_parent_is_dropped_at_most_so_often(
    risk, noise
):
    rng = np.random.default_rng(0)
    noise = {n: noise * sd for n, sd in PARTS.items()}
    race, losses = Race(parents=10, risk=risk), []
    for _ in range(100):
        first = first_generation(rng, 20, noise=noise)
        bars = race.bars(first)
        last = sorted(c.fitness for c in first)[-10]
        _, rungs = simulate(rng, 100, mean=last, spread=0, noise=noise)
        losses.append(np.mean([dropped(bars, one) for one in rungs]))
    # Bonferroni: less than the risk, but not far less.
    assert risk / 2 < np.mean(losses) < risk


def test_the_worse_a_candidate_the_more_surely_it_is_dropped():
    rng = np.random.default_rng(1)
    bars = Race(parents=10).bars(first_generation(rng))
    shares = []
    for mean in (0.36, 0.32, 0.28, 0.24):
        _, rungs = simulate(rng, 500, mean=mean, spread=0)
        shares.append(np.mean([dropped(bars, one) for one in rungs]))
    assert shares[0] == 0
    assert sorted(shares) == shares
    assert shares[-1] > 0.95


@given(
    seed=st.integers(0, 99),
    shift=st.floats(-0.5, 0.5),
    ease=st.floats(-0.2, 0.2),
)
def test_bars_move_with_scores_and_with_the_ease_of_the_images(
    seed, shift, ease
):
    """Only differences on the same images count."""
    race = Race(parents=3)
    plain, moved, easier = (
        race.bars(first_generation(np.random.default_rng(seed), 8, **changes))
        for changes in ({}, dict(mean=0.3 + shift), dict(ease=0.05 + ease))
    )
    for one, two, three in zip(plain, moved, easier, strict=True):
        assert one[0] == two[0] == three[0]
        assert two[1] == pytest.approx(one[1] + shift)
        assert three[1] == pytest.approx(one[1] + ease)


@given(seed=st.integers(0, 99), order=st.randoms(use_true_random=False))
def test_bars_depend_on_the_candidates_and_on_nothing_else(seed, order):
    race = Race(parents=3)
    first = first_generation(np.random.default_rng(seed), 8)
    bars = race.bars(first)
    assert race.bars(list(first)) == bars
    order.shuffle(first)
    for one, two in zip(race.bars(first), bars, strict=True):
        assert one == pytest.approx(two)


@given(seed=st.integers(0, 99))
def test_without_noise_exactly_those_below_the_last_parent_are_dropped(seed):
    rng = np.random.default_rng(seed)
    noise = dict.fromkeys(PARTS, 0.0)
    first = first_generation(rng, 12, noise=noise)
    bars = Race(parents=4).bars(first)
    last = sorted(c.fitness for c in first)[-4]
    fitness, rungs = simulate(rng, 50, noise=noise)
    for one, scores in zip(fitness, rungs, strict=True):
        if abs(one - last) > 1e-9:
            assert dropped(bars, scores) == (one < last)


def test_later_generations_raise_the_parents_but_not_the_margin():
    rng = np.random.default_rng(2)
    first = first_generation(rng)
    second = first_generation(
        rng,
        10,
        start=50,
        generation=1,
        mean=0.4,
        noise=dict.fromkeys(PARTS, 9),
    )
    race = Race(parents=10)
    raised = (
        min(c.fitness for c in second) - sorted(c.fitness for c in first)[-10]
    )
    for before, after in zip(
        race.bars(first), race.bars(first + second), strict=True
    ):
        assert after[1] - before[1] == pytest.approx(raised)


def test_nobody_is_dropped_before_there_is_something_to_compare_with():
    first = first_generation(np.random.default_rng(0), 20)
    assert Race(parents=3).bars([]) == ()
    assert Race(parents=3).bars(first[:4]) == ()
    assert Race(parents=30).bars(first) == ()
    assert len(Race(parents=3).bars(first[:5])) == 3
    lost = [
        candidate(i, fitness=None, status='failed', error='x')
        for i in range(9)
    ]
    assert Race(parents=3).bars(first[:4] + lost) == ()


def test_dropped_candidates_are_no_parents():
    first = first_generation(np.random.default_rng(0), 20)
    last = [
        candidate(
            20 + i, generation=1, fitness=None, status=Status.DROPPED,
            rungs=[(50, 0.9)],
        )
        for i in range(5)
    ]  # fmt: skip
    assert Race(parents=3).bars(first + last) == Race(parents=3).bars(first)


def test_prediction_bound_against_a_table_of_t():
    # t of 0.95 with 4 degrees of freedom is 2.132.
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    bound = 3 + 2.132 * 2.5**0.5 * 1.2**0.5
    assert likely_most(values, 0.05) == pytest.approx(bound, abs=1e-3)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(parts=()), 'between 0 and 1'),
        (dict(parts=(0.5, 0.25)), 'growing'),
        (dict(parts=(0.5, 1.0)), 'between 0 and 1'),
        (dict(parts=(0.0, 0.5)), 'between 0 and 1'),
        (dict(risk=0.0), '`risk`'),
        (dict(risk=0.5), 'between 0 and 0.5, got 0.5'),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        Race(parents=2, **settings)
