"""What fits into a time, and how long it takes."""

import runpy
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.digits_runs import ROOT

BUDGET = runpy.run_path(str(ROOT / 'tools/project/budget.py'))
Timing, fit_plan = BUDGET['Timing'], BUDGET['fit_plan']
full_plan, step_seconds = BUDGET['full_plan'], BUDGET['step_seconds']
smallest_factor = BUDGET['smallest_factor']

COCO = dict(train=113_287, search=5000, test=5000)
VOC = dict(train=11_551, search=5000, test=4952)
CELLS = dict(train=205, search=87, test=72)


@pytest.mark.parametrize(
    ('counts', 'iterations'), [(COCO, 90_000), (VOC, 22_500)]
)
def test_the_full_plan_is_that_of_the_paper(counts, iterations):
    plan = full_plan(counts, seeds=1, has_weights=True)
    assert plan.iterations == pytest.approx(iterations, rel=0.02)
    assert (plan.generations, plan.population) == (20, 50)
    assert (plan.batch_size, plan.calibration) == (16, 500)
    scratch = full_plan(counts, seeds=1, has_weights=False)
    assert scratch.iterations == pytest.approx(2 * plan.iterations, abs=1)


times = st.floats(0.001, 5)


@given(
    st.floats(0.05, 20),
    times,
    times,
    st.floats(900, 90_000),
    st.integers(1, 3),
)
def test_a_plan_takes_the_time_that_it_is_given(
    iteration, calibration, inference, seconds, seeds
):
    timing = Timing(iteration, calibration, inference, 10.0, factor=0.5)
    full = replace(full_plan(CELLS, seeds, False), top=3)
    plan = fit_plan(full, timing, CELLS, seconds)
    taken = sum(step_seconds(plan, timing, CELLS, 1).values())
    # Less than the fewest iterations and candidates is no search.
    if plan.iterations > 20 and plan.population * plan.generations > 8:
        assert taken <= seconds
    if plan.iterations < full.iterations:
        assert plan.factor == 0.5 or taken >= 0.3 * seconds


def test_images_shrink_and_statistics_too_where_time_is_short():
    full = full_plan(CELLS, 1, has_weights=False)
    timing = Timing(1.0, 0.05, 0.05, 8.0, factor=0.5)
    sizes = {}
    for hours in (1, 4, 40):
        plan = fit_plan(full, timing, CELLS, 3600 * hours)
        sizes[hours] = plan.factor, plan.calibration
    assert sizes[1][0] == 0.5
    assert sizes[40] == (1.0, 205)
    assert sizes[1] < sizes[4] <= sizes[40]
    # The tenth of the boxes must stay visible.
    assert [smallest_factor(side) for side in (6, 11, 16, 90)] == [
        1.0,
        0.75,
        0.5,
        0.5,
    ]


def test_gpus_share_candidates_and_trainings():
    plan = full_plan(VOC, 2, has_weights=True)
    timing = Timing(0.3, 0.02, 0.02, 10.0, factor=1.0)
    alone = step_seconds(plan, timing, VOC, 1)
    shared = step_seconds(plan, timing, VOC, 8)
    assert shared['supernet'] == alone['supernet']
    assert shared['search'] == pytest.approx(alone['search'] / 8)
    # What one GPU does in eight hours, eight do in less.
    full = replace(plan, iterations=10**9)
    short = fit_plan(full, timing, VOC, 3600 * 8)
    more = fit_plan(full, timing, VOC, 3600 * 8, gpus=8)
    assert more.iterations > short.iterations
    assert more.population * more.generations >= 5 * (
        short.population * short.generations
    )
    # 6 nets with 2 seeds are 12 trainings. A GPU takes whole networks.
    assert shared['finalists'] == pytest.approx(alone['finalists'] / 6)
    four = step_seconds(plan, timing, VOC, 4)
    assert four['finalists'] == pytest.approx(alone['finalists'] / 3)
