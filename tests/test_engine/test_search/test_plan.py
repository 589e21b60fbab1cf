"""What a search is to do, from its settings."""

import inspect

import torch

from detnas_mm.engine.runner.search_loop import EvolutionSearchLoop
from detnas_mm.engine.search.plan import plan_search
from detnas_mm.models import PUBLISHED_PATHS, DetNASSupernet


def plan(space, **settings):
    with torch.device('meta'):
        supernet = DetNASSupernet(space)
    loop = inspect.signature(EvolutionSearchLoop).parameters
    names = inspect.signature(plan_search).parameters.keys() - {'supernet'}
    defaults = {name: loop[name].default for name in names}
    return plan_search(supernet, **defaults | settings)


def test_given_paths_may_have_names():
    name = 'detnas_fpn_300m'
    digits = PUBLISHED_PATHS[name][1].replace(' ', '')
    paths = [name, '0' * 20, '1' * 18 + ' 23']
    planned = plan('small', algorithm='given', paths=paths)
    expected = [digits, '0' * 20, '1' * 18 + '23']
    assert planned.algorithm == dict(type='given', paths=expected)
    assert planned.total == 3
