"""Synthetic searches: made up, none of their numbers was measured."""

import numpy as np

from detnas_mm.cost import backbone_macs, backbone_params
from detnas_mm.structures import SearchRecord
from detnas_mm.visualization import make_search
from kit.records import candidate, header
from kit.spaces import DETECTOR_SPACE, additive_fitness

GENERATIONS, POPULATION = 3, 4


def synthetic_candidates(
    space=DETECTOR_SPACE, failed=(), generations=GENERATIONS, seed=0
):
    """Candidates of random paths with made-up scores and times."""
    rng = np.random.default_rng(seed)
    fitness = additive_fitness(space, seed)
    candidates = []
    for index in range(generations * POPULATION):
        path = space.random_path(rng)
        fields = dict(fitness=fitness(path))
        if index in failed:
            fields = dict(fitness=None, status='failed', error=f'why {index}')
        candidates.append(
            candidate(
                index,
                generation=index // POPULATION,
                path=space.format(path),
                macs=backbone_macs(space, path),
                params=backbone_params(space, path),
                seconds=float(index),
                **fields,
            )
        )
    return candidates


def synthetic_header(space=DETECTOR_SPACE, **changes):
    fields = dict(
        search_space=space.to_dict(),
        algorithm={'type': 'evolution', 'population': POPULATION},
    )
    return header(**(fields | changes))


def synthetic_search(
    name='synthetic', candidates=None, references=(), **changes
):
    """A search as a report shows it."""
    record = SearchRecord('nowhere')
    record.header = synthetic_header(**changes)
    if candidates is None:
        candidates = synthetic_candidates()
    record.candidates = list(candidates)
    return make_search(name, record, references)
