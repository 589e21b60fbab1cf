"""Plain data: search spaces, paths, candidates and their record."""

from .candidate import Candidate, Origin, Status, best_candidate
from .cost_table import Cost, CostTable
from .record import SearchHeader, SearchRecord
from .search_space import (
    SEARCH_SPACES,
    SHUFFLE_CHOICES,
    BlockPosition,
    Path,
    SearchSpace,
    get_search_space,
    space_name,
)

__all__ = [
    'SEARCH_SPACES',
    'SHUFFLE_CHOICES',
    'BlockPosition',
    'Candidate',
    'Cost',
    'CostTable',
    'Origin',
    'Path',
    'SearchHeader',
    'SearchRecord',
    'SearchSpace',
    'Status',
    'best_candidate',
    'get_search_space',
    'space_name',
]
