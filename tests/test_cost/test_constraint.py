"""Bounds, and how many paths keep them."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.latencies import latency_table, random_latencies
from kit.spaces import FOUR_BLOCKS, paths_of, spaces

from detnas_mm.cost import Bounds, Constraint, backbone_macs, backbone_params
from detnas_mm.structures import SEARCH_SPACES, Cost, CostTable, SearchSpace

SMALL = SEARCH_SPACES['small']
# A path of 288,082,368 MACs and 1,849,680 params (authors' code).
PATH = SMALL.parse('2120 2112 33130031 3132')
MACS, PARAMS = 288_082_368, 1_849_680


def tables(space):
    """Any costs, from a small range so that sums coincide."""
    cost = st.builds(Cost, st.integers(0, 6), st.integers(0, 6))
    row = st.tuples(*[cost] * space.num_choices)
    return st.builds(CostTable, cost, st.tuples(*[row] * space.num_blocks))


def latency_tables(space):
    """Latencies of which few sums coincide, as measured ones do."""
    ms = st.integers(1, 9_999_999).map(lambda ns: ns / 1e6)
    row = st.tuples(*[ms] * space.num_choices)
    rows = st.tuples(*[row] * space.num_blocks)
    return st.builds(latency_table, st.just(space), rows, ms)


@st.composite
def constraints(draw):
    space = draw(spaces(max_stages=2, max_blocks=2))
    made = Constraint(
        space,
        Bounds(),
        table=draw(tables(space)),
        rest=draw(st.builds(Cost, st.integers(0, 5), st.integers(0, 5))),
        latency_table=draw(latency_tables(space)),
    )
    bounds = {}
    for cost in ('macs', 'params', 'latency'):
        # Often exactly what some paths cost: bounds are inclusive.
        paths = [draw(paths_of(space)) for _ in range(2)]
        ends = sorted(getattr(made, cost)(path) for path in paths)
        for name, end in zip(('min', 'max'), ends, strict=True):
            if draw(st.booleans()):
                bounds[f'{name}_{cost}'] = end
    return Constraint(
        space,
        Bounds(**bounds),
        table=made.table,
        rest=made.rest,
        latency_table=made.latency_table,
    )


@given(constraints())
def test_legal_paths_are_counted_exactly(constraint):
    bounds, table, rest = constraint.bounds, constraint.table, constraint.rest
    times = constraint.latency_table

    def is_legal(path):
        costs = [row[c] for row, c in zip(table.blocks, path, strict=True)]
        costs += [table.stem, rest]
        macs = sum(cost.macs for cost in costs)
        params = sum(cost.params for cost in costs)
        # In nanoseconds, whose sums are exact.
        ns = [row[c] for row, c in zip(times.blocks, path, strict=True)]
        ns = sum(round(ms * 1e6) for ms in [times.stem, *ns])
        low, high = (
            None if end is None else round(end * 1e6)
            for end in (bounds.min_latency, bounds.max_latency)
        )
        return (
            (bounds.min_macs is None or bounds.min_macs <= macs)
            and (bounds.max_macs is None or macs <= bounds.max_macs)
            and (bounds.min_params is None or bounds.min_params <= params)
            and (bounds.max_params is None or params <= bounds.max_params)
            and (low is None or low <= ns)
            and (high is None or ns <= high)
        )

    space = constraint.space
    digits = range(space.num_choices)
    paths = list(itertools.product(digits, repeat=space.num_blocks))
    expected = sum(map(is_legal, paths))
    assert constraint.count_legal_paths(space.size + 1) == expected
    for path in paths[:: max(1, len(paths) // 40)]:
        assert constraint.is_legal(path) == is_legal(path)
        assert (constraint.reason(path) is None) == is_legal(path)


@given(st.integers(0, 400))
def test_count_stops_at_what_is_needed(needed):
    legal = 256
    count = Constraint(FOUR_BLOCKS, Bounds()).count_legal_paths(needed)
    assert count == legal if needed > legal else needed <= count <= legal


def test_share_of_the_small_space_up_to_300m():
    # 68.9 %: measured by drawing with the authors' code.
    constraint = Constraint(SMALL, Bounds(max_macs=300e6))
    count = constraint.count_legal_paths(SMALL.size)
    assert count / SMALL.size == pytest.approx(0.689, abs=0.001)


def test_count_agrees_with_draws_for_two_bounds():
    bounds = Bounds(min_macs=285e6, max_macs=300e6, max_params=1.85e6)
    constraint = Constraint(SMALL, bounds)
    count = constraint.count_legal_paths(SMALL.size)
    paths = SMALL.random_paths(np.random.default_rng(1), 10_000)
    share = np.mean([constraint.is_legal(path) for path in paths])
    assert 0.02 < share < 0.98
    tolerance = 5 * math.sqrt(share * (1 - share) / 10_000)
    assert count / SMALL.size == pytest.approx(share, abs=tolerance)


@pytest.mark.parametrize('costs', [['latency'], ['latency', 'params']])
def test_count_agrees_with_draws_for_latencies(costs):
    space = SearchSpace(16, (64, 128, 256), (4, 4, 4))
    table = random_latencies(space, seed=3)
    paths = space.random_paths(np.random.default_rng(1), 10_000)
    free = Constraint(space, Bounds(), latency_table=table)
    medians = {
        f'max_{cost}': float(
            np.median([getattr(free, cost)(p) for p in paths])
        )
        for cost in costs
    }
    constraint = Constraint(space, Bounds(**medians), latency_table=table)
    share = np.mean([constraint.is_legal(path) for path in paths])
    assert 0.15 < share < 0.7 / len(costs)
    count = constraint.count_legal_paths(space.size)
    tolerance = 5 * math.sqrt(share * (1 - share) / 10_000)
    assert count / space.size == pytest.approx(share, abs=tolerance)


def test_paths_are_drawn_where_halves_are_too_many():
    space = SEARCH_SPACES['large']
    table = random_latencies(space)
    paths = space.random_paths(np.random.default_rng(1), 2_000)
    fast = float(np.quantile([table.latency(path) for path in paths], 0.01))
    constraint = Constraint(
        space, Bounds(max_latency=fast), latency_table=table
    )
    # One in a hundred of 4 ** 40: enough for any search.
    assert constraint.count_legal_paths(10**20) == 10**20
    assert constraint.count_legal_paths(10**23) == pytest.approx(
        0.01 * 4**40, rel=0.5
    )


def test_latency_that_no_path_has():
    table = latency_table(FOUR_BLOCKS, [[2, 3, 4, 5]] * 4, stem=1)
    with pytest.raises(ValueError, match='no path keeps') as error:
        Constraint(
            FOUR_BLOCKS, Bounds(max_latency=8.9), latency_table=table
        ).require_legal_paths(1)
    assert 'of the space are 9.000 ms to 21.000 ms' in str(error.value)
    assert 'bounds are -inf ms to 8.900 ms' in str(error.value)
    one = Constraint(FOUR_BLOCKS, Bounds(max_latency=9), latency_table=table)
    assert one.count_legal_paths(10) == 1
    assert one.reason((0, 0, 0, 0)) is None
    assert one.reason((0, 0, 1, 0)) == (
        '10.000 ms latency, bounds are -inf ms to 9.000 ms'
    )


def test_a_rare_latency_in_a_space_too_large_to_count():
    space = SEARCH_SPACES['large']
    table = random_latencies(space, seed=0)
    fastest = table.stem + sum(map(min, table.blocks))
    bounds = Bounds(max_latency=fastest + 0.01)
    constraint = Constraint(space, bounds, latency_table=table)
    with pytest.raises(ValueError, match='no path keeps the bounds'):
        constraint.require_legal_paths(1)


def test_bound_on_latency_needs_a_table_of_the_space():
    with pytest.raises(ValueError, match='need a `latency_table`; measure'):
        Constraint(SMALL, Bounds(max_latency=3))
    table = random_latencies(FOUR_BLOCKS)
    with pytest.raises(ValueError, match='`latency_table` is that of'):
        Constraint(SMALL, Bounds(), latency_table=table)


def test_costs_are_those_of_the_tables():
    constraint = Constraint(SMALL, Bounds())
    assert (constraint.macs(PATH), constraint.params(PATH)) == (MACS, PARAMS)
    larger = Constraint(SMALL, Bounds(), input_size=[320, 321])
    assert larger.macs(PATH) == backbone_macs(SMALL, PATH, (320, 321))
    assert larger.params(PATH) == backbone_params(SMALL, PATH)


@pytest.mark.parametrize(
    ('bounds', 'reason'),
    [
        ({}, None),
        (dict(max_macs=MACS), None),
        (dict(min_macs=MACS), None),
        (dict(max_params=PARAMS, min_params=PARAMS), None),
        (
            dict(max_macs=MACS - 1),
            '288,082,368 macs, bounds are -inf to 288,082,367',
        ),
        (
            dict(min_macs=MACS + 1),
            '288,082,368 macs, bounds are 288,082,369 to inf',
        ),
        (
            dict(max_macs=300e6, min_params=1, max_params=PARAMS - 1),
            '1,849,680 params, bounds are 1 to 1,849,679',
        ),
    ],
)
def test_reason_and_inclusive_bounds(bounds, reason):
    constraint = Constraint(SMALL, Bounds(**bounds))
    assert constraint.reason(PATH) == reason
    assert constraint.is_legal(PATH) == (reason is None)


def test_rest_of_the_detector_counts():
    bounds = Bounds(max_macs=MACS + 10, max_params=PARAMS + 5)
    for rest, legal in [
        (Cost(10, 5), True),
        (Cost(11, 5), False),
        (Cost(10, 6), False),
    ]:
        constraint = Constraint(SMALL, bounds, rest=rest)
        assert constraint.is_legal(PATH) == legal
        assert constraint.macs(PATH) == MACS + rest.macs
        assert constraint.params(PATH) == PARAMS + rest.params


@pytest.mark.parametrize('cost', ['macs', 'params', 'latency'])
def test_bounds_that_cross_are_refused(cost):
    with pytest.raises(ValueError, match=f'`min_{cost}`.*3e.08 and 2e.08'):
        Bounds(**{f'min_{cost}': 3e8, f'max_{cost}': 2e8})


def test_impossible_bounds_say_what_the_space_offers():
    one_block = SearchSpace(4, (8,), (1,))
    costs = [backbone_macs(one_block, (digit,)) for digit in range(4)]
    constraint = Constraint(one_block, Bounds(max_macs=10))
    with pytest.raises(ValueError, match='no path keeps the bounds') as error:
        constraint.require_legal_paths(1)
    assert f'{min(costs):,} to {max(costs):,}' in str(error.value)
    assert '-inf to 10' in str(error.value)


def test_too_few_legal_paths_are_counted_in_the_message():
    params = sorted(
        backbone_params(FOUR_BLOCKS, path) for path in FOUR_BLOCKS.all_paths()
    )
    bounds = Bounds(max_params=params[9])
    constraint = Constraint(FOUR_BLOCKS, bounds)
    count = sum(value <= params[9] for value in params)
    constraint.require_legal_paths(count)
    with pytest.raises(ValueError, match=f'for {count + 1} paths') as error:
        constraint.require_legal_paths(count + 1)
    assert f'only {count} keep' in str(error.value)
    assert 'params of the space are' in str(error.value)
    assert 'macs' not in str(error.value)


def test_constraint_as_plain_data():
    constraint = Constraint(
        SMALL,
        Bounds(max_macs=300e6),
        input_size=(224, 320),
        rest=Cost(3, 4),
    )
    assert constraint.to_dict() == {
        'min_macs': None,
        'max_macs': 300e6,
        'min_params': None,
        'max_params': None,
        'input_size': [224, 320],
        'rest_macs': 3,
        'rest_params': 4,
    }
    table = random_latencies(SMALL)
    bounded = Constraint(SMALL, Bounds(max_latency=9), latency_table=table)
    fields = bounded.to_dict()
    assert fields['max_latency'] == 9
    assert fields['latency_table'] == table.digest
    assert fields['latency_device'] == table.device
