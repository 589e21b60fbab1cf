"""Bounds on costs, and the refusal of bounds that leave too few paths."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.latencies import latency_table, random_latencies
from kit.spaces import FOUR_BLOCKS, paths_of, spaces

from detnas_mm.cost import Bounds, Constraint, backbone_macs, backbone_params
from detnas_mm.structures import SEARCH_SPACES, Cost, CostTable, SearchSpace
from detnas_mm.utils.errors import InputError

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
    settings = dict(
        table=draw(tables(space)),
        rest=draw(st.builds(Cost, st.integers(0, 5), st.integers(0, 5))),
        latency_table=draw(latency_tables(space)),
    )
    unbounded = Constraint(space, Bounds(), **settings)
    bounds = {}
    for cost in ('macs', 'params', 'latency'):
        # Often exactly what some paths cost: bounds are inclusive.
        paths = [draw(paths_of(space)) for _ in range(2)]
        ends = sorted(getattr(unbounded, cost)(path) for path in paths)
        for name, end in zip(('min', 'max'), ends, strict=True):
            if draw(st.booleans()):
                bounds[f'{name}_{cost}'] = end
    return Constraint(space, Bounds(**bounds), **settings)


def keeps_bounds(constraint, path):
    """Computes the costs again, in nanoseconds where it is a latency."""
    bounds, times = constraint.bounds, constraint.latency_table
    rows = zip(constraint.table.blocks, path, strict=True)
    parts = [row[choice] for row, choice in rows]
    parts += [constraint.table.stem, constraint.rest]
    rows = zip(times.blocks, path, strict=True)
    latencies = [times.stem, *(row[choice] for row, choice in rows)]
    for value, low, high in (
        (sum(p.macs for p in parts), bounds.min_macs, bounds.max_macs),
        (sum(p.params for p in parts), bounds.min_params, bounds.max_params),
        (
            sum(round(ms * 1e6) for ms in latencies),
            bounds.min_latency and round(bounds.min_latency * 1e6),
            bounds.max_latency and round(bounds.max_latency * 1e6),
        ),
    ):
        if (low is not None and value < low) or (
            high is not None and value > high
        ):
            return False
    return True


@given(constraints())
def test_paths_of_a_small_space_are_counted_exactly(constraint):
    space = constraint.space
    paths = list(space.all_paths())
    expected = sum(keeps_bounds(constraint, path) for path in paths)
    assert constraint.count_legal_paths(space.size + 1) == expected
    for path in paths[:: max(1, len(paths) // 40)]:
        is_legal = keeps_bounds(constraint, path)
        assert constraint.is_legal(path) == is_legal
        assert (constraint.reason(path) is None) == is_legal


def test_count_stops_at_what_is_needed():
    for needed in (0, 1, 100, 256, 400):
        count = Constraint(FOUR_BLOCKS, Bounds()).count_legal_paths(needed)
        assert min(needed, 256) <= count <= 256


def test_count_of_a_large_space_is_estimated():
    space = SEARCH_SPACES['large']
    table = random_latencies(space)
    paths = space.random_paths(np.random.default_rng(1), 2_000)
    fast = float(np.quantile([table.latency(path) for path in paths], 0.01))
    constraint = Constraint(
        space, Bounds(max_latency=fast), latency_table=table
    )
    # One in a hundred of 4 ** 40: enough for any search.
    assert constraint.count_legal_paths(10**20) >= 10**20
    count = constraint.count_legal_paths(space.size)
    assert count == pytest.approx(0.01 * space.size, rel=0.5)


def test_bounds_that_no_drawn_path_keeps_are_refused():
    space = SEARCH_SPACES['large']
    table = random_latencies(space)
    fastest = table.stem + sum(map(min, table.blocks))
    bounds = Bounds(max_latency=fastest + 0.01)
    constraint = Constraint(space, bounds, latency_table=table)
    with pytest.raises(
        InputError,
        match='none of .* drawn paths keeps',
    ):
        constraint.require_legal_paths(1)


def test_impossible_bound_is_named_with_what_the_space_offers():
    table = latency_table(FOUR_BLOCKS, [[2, 3, 4, 5]] * 4, stem=1)
    for bounds, message in (
        (dict(max_macs=10), '`max_macs` is 10, but macs of the space are '),
        (
            dict(min_params=1e9),
            '`min_params` is 1,000,000,000.0, but params of the space are ',
        ),
        (
            dict(max_latency=8.9),
            '`latency.max_ms` is 8.900 ms, but latency of the space are '
            '9.000 ms to 21.000 ms',
        ),
    ):
        constraint = Constraint(
            FOUR_BLOCKS, Bounds(**bounds), latency_table=table
        )
        with pytest.raises(InputError, match=f'the bounds: {message}'):
            constraint.require_legal_paths(1)


def test_attainable_range_is_exact():
    space = SearchSpace(4, (8,), (1,))
    macs = [backbone_macs(space, (choice,)) for choice in range(4)]
    with pytest.raises(InputError, match=f'{min(macs):,} to {max(macs):,}'):
        Constraint(space, Bounds(max_macs=10)).require_legal_paths(1)
    for end in (min(macs), max(macs)):
        bounds = Bounds(min_macs=end, max_macs=end)
        Constraint(space, bounds).require_legal_paths(1)


def test_bounds_that_exclude_each_other_are_refused():
    """Each bound can be met, but not both at once."""
    paths = list(FOUR_BLOCKS.all_paths())
    bounds = Bounds(
        max_macs=min(backbone_macs(FOUR_BLOCKS, path) for path in paths),
        min_params=max(backbone_params(FOUR_BLOCKS, path) for path in paths),
    )
    expected = 'keeps the bounds: macs of .*; params of .* bounds are'
    with pytest.raises(InputError, match=expected):
        Constraint(FOUR_BLOCKS, bounds).require_legal_paths(1)


def test_too_few_legal_paths_are_counted_in_the_message():
    params = sorted(
        backbone_params(FOUR_BLOCKS, path) for path in FOUR_BLOCKS.all_paths()
    )
    constraint = Constraint(FOUR_BLOCKS, Bounds(max_params=params[9]))
    count = sum(value <= params[9] for value in params)
    constraint.require_legal_paths(count)
    with pytest.raises(
        InputError, match=f'for {count + 1} paths, but only {count} keep'
    ):
        constraint.require_legal_paths(count + 1)
    with pytest.raises(InputError, match='only 256 .*: there are none'):
        Constraint(FOUR_BLOCKS, Bounds()).require_legal_paths(257)


def test_bound_on_latency_needs_a_table_of_the_space():
    with pytest.raises(InputError, match='need a table.*; measure'):
        Constraint(SMALL, Bounds(max_latency=3))
    table = random_latencies(FOUR_BLOCKS)
    with pytest.raises(InputError, match='`latency_table` was measured for'):
        Constraint(SMALL, Bounds(), latency_table=table)


def test_costs_are_looked_up_at_the_input_size():
    constraint = Constraint(SMALL, Bounds())
    assert (constraint.macs(PATH), constraint.params(PATH)) == (MACS, PARAMS)
    larger = Constraint(SMALL, Bounds(), input_size=[320, 321])
    assert larger.macs(PATH) == backbone_macs(SMALL, PATH, (320, 321))
    assert larger.params(PATH) == backbone_params(SMALL, PATH)


def test_reason_and_inclusive_bounds():
    table = latency_table(SMALL, [[1, 1, 1, 1]] * 20, stem=1)
    for bounds, reason in (
        (dict(max_macs=MACS, min_macs=MACS), None),
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
        (
            dict(max_latency=20.999),
            '21.000 ms latency, bounds are -inf ms to 20.999 ms',
        ),
    ):
        constraint = Constraint(SMALL, Bounds(**bounds), latency_table=table)
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


def test_neck_and_heads_count_in_the_latency():
    table = latency_table(SMALL, [[1] * 4] * 20, stem=1, scale=1.5, rest=7.25)
    bounds = Bounds(max_latency=38.7)
    for adds_rest, latency, legal in (
        (False, 31.5, True),
        (True, 38.75, False),
    ):
        constraint = Constraint(
            SMALL, bounds, latency_table=table, adds_rest=adds_rest
        )
        assert constraint.latency(PATH) == latency
        assert constraint.is_legal(PATH) == legal
    assert constraint.to_dict()['rest_latency'] == 7.25


def test_bounds_that_cross_are_refused():
    for cost, name in (
        ('macs', 'min_macs'),
        ('params', 'min_params'),
        ('latency', 'latency.min_ms'),
    ):
        with pytest.raises(InputError, match=f'`{name}`.*3e.08 and 2e.08'):
            Bounds(**{f'min_{cost}': 3e8, f'max_{cost}': 2e8})


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
