"""Search algorithms: they see neither a model nor a cost."""

from .base import (
    NoLegalPathError,
    Proposal,
    ScoredPath,
    SearchAlgorithm,
)
from .evolution import Evolution, RandomSearch
from .fixed_paths import GivenPaths
from .nsga2 import NSGA2
from .operators import crossover, mutate

__all__ = [
    'NSGA2',
    'Evolution',
    'GivenPaths',
    'NoLegalPathError',
    'Proposal',
    'RandomSearch',
    'ScoredPath',
    'SearchAlgorithm',
    'crossover',
    'mutate',
]
