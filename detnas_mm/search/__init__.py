"""Search algorithms: they see neither a model nor a cost."""

from .base import (
    NoLegalPathError,
    PopulationSearch,
    Proposal,
    ScoredPath,
    SearchAlgorithm,
)
from .evolution import Evolution, RandomSearch
from .finalists import even_path, pick_finalists, random_path_near
from .fixed_paths import FixedPaths
from .nsga2 import NSGA2
from .operators import crossover, mutate
from .surrogate import SurrogateEvolution

__all__ = [
    'NSGA2',
    'Evolution',
    'FixedPaths',
    'NoLegalPathError',
    'PopulationSearch',
    'Proposal',
    'RandomSearch',
    'ScoredPath',
    'SearchAlgorithm',
    'SurrogateEvolution',
    'crossover',
    'even_path',
    'mutate',
    'pick_finalists',
    'random_path_near',
]
