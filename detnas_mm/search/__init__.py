"""Search algorithms: they see neither a model nor a cost."""

from .evolution import Evolution, RandomSearch
from .given import GivenPaths
from .history import (
    NoLegalPathError,
    Proposal,
    ScoredPath,
    SearchAlgorithm,
)
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
