"""The settings of a search: ``val_cfg``."""

import pytest
from kit.latencies import random_latencies
from kit.spaces import FOUR_BLOCKS

from detnas_mm.cost import Bounds, Constraint
from detnas_mm.engine.search.settings import SearchSettings, build_algorithm
from detnas_mm.models import PUBLISHED_PATHS
from detnas_mm.structures import (
    costs_among,
    get_search_space,
    metrics_among,
)
from detnas_mm.utils.errors import InputError


def read(**settings):
    return SearchSettings.from_config(dict(metric='mAP') | settings)


def build(space=FOUR_BLOCKS, latency_table=None, **settings):
    constraint = Constraint(space, Bounds(), latency_table=latency_table)
    return build_algorithm(read(**settings), constraint)


def evolution(**settings):
    return dict(algorithm=dict(type='Evolution', **settings))


def test_defaults_are_those_of_the_paper():
    settings = read(executor=None)
    assert settings.generations == 20
    assert settings.executor == {}
    algorithm, complete = build()
    assert complete['type'] == 'Evolution'
    assert algorithm.population == complete['population'] == 50
    assert complete['parents'] == 10
    assert complete['mutation_prob'] == 0.1


@pytest.mark.parametrize(
    ('settings', 'part'),
    [
        # Of version 0.1, with their new places.
        (dict(population=50), "algorithm=dict(type='Evolution', population="),
        (dict(minimise=['macs']), 'objectives=[...] and algorithm=dict(type='),
        (dict(chunk=4), 'one at a time'),
        (dict(race={}), 'always scored to the end'),
        (dict(paths=['0123']), "dict(type='FixedPaths'"),
        (dict(algorithm='evolution'), "such as dict(type='Evolution'"),
        (dict(objectives='macs'), "such as ['macs']"),
        (dict(fp16='bfloat16'), '`val_cfg.fp16`'),
        # Unknown or out of range.
        (dict(generation=3), "no setting 'generation'; it takes metric, "),
        (dict(metric=None), '`val_cfg` needs `metric`'),
        (dict(generations='20'), "a number of at least 1, got '20'"),
        (dict(generations=0), '`val_cfg.generations` must be a number'),
        (dict(seed=-1), '`val_cfg.seed`'),
        (dict(lookahead=-1), '`val_cfg.lookahead`'),
        (dict(max_failures=0), '`val_cfg.max_failures`'),
        (dict(cache_gb=-1.0), '`val_cfg.cache_gb`'),
        (dict(resume=True, overwrite=True), 'exclude each other'),
        (dict(metric='macs'), '`metric` must not be a cost'),
        (dict(objectives=['macs', 'macs']), 'may appear twice'),
        # Of the algorithm.
        (
            dict(algorithm=dict(type='Annealing')),
            "'Annealing'; it is one of Evolution",
        ),
        (
            evolution(mutation=0.1),
            'takes population, concentration, parents, mut',
        ),
        (evolution(seed=3), 'Evolution takes population'),
        (evolution(population=0), '`population`'),
        (evolution(parents=51), '`parents`'),
        (evolution(mutation_prob=0.0), '`mutation_prob`'),
        (dict(objectives=['macs']), 'do not fit together'),
        (dict(algorithm=dict(type='NSGA2')), 'do not fit together'),
        (
            dict(objectives=['latency'], algorithm=dict(type='NSGA2')),
            'needs `latency=dict(table=FILE)`',
        ),
        (dict(algorithm=dict(type='FixedPaths')), 'takes paths; got none'),
        (
            dict(algorithm=dict(type='FixedPaths', paths=['0123', '01 23'])),
            '`paths` must be different',
        ),
        (dict(algorithm=dict(type='FixedPaths', paths=['012'])), '012'),
    ],
)
def test_what_is_refused(settings, part):
    with pytest.raises(InputError) as error:
        build(**settings)
    assert part in str(error.value)
    assert '\n' not in str(error.value)


def test_fixed_paths_may_have_names():
    name = 'detnas_fpn_300m'
    digits = PUBLISHED_PATHS[name][1].replace(' ', '')
    paths = [name, '0' * 20, '1' * 18 + ' 23']
    fixed = dict(type='FixedPaths', paths=paths)
    algorithm, complete = build(get_search_space('small'), algorithm=fixed)
    expected = [digits, '0' * 20, '1' * 18 + '23']
    assert complete == dict(type='FixedPaths', paths=expected)
    assert algorithm.population == 3
    # One path needs no list.
    fixed['paths'] = name
    algorithm, _ = build(get_search_space('small'), algorithm=fixed)
    assert algorithm.population == 1


def test_costs_are_looked_up_for_several_objectives():
    table = random_latencies(FOUR_BLOCKS)
    settings = dict(
        objectives=['latency', 'other', 'macs'],
        algorithm=dict(type='NSGA2', population=4),
    )
    objectives = read(**settings).objectives
    assert costs_among(objectives) == ['latency', 'macs']
    assert metrics_among(objectives) == ['other']
    algorithm, _ = build(latency_table=table, **settings)
    path = (0, 1, 2, 3)
    constraint = Constraint(FOUR_BLOCKS, Bounds(), latency_table=table)
    assert list(algorithm.costs(path)) == [
        constraint.latency(path),
        constraint.macs(path),
    ]
