"""Search algorithms: they see neither a model nor a cost."""

from .evolution import Evolution, RandomSearch
from .given import GivenPaths
from .history import (
    NoLegalPathError,
    Proposal,
    ScoredPath,
    SearchAlgorithm,
)
from .operators import crossover, mutate

__all__ = [
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
