"""Plain data: search spaces, paths, candidates and their record."""

from .candidate import (
    COSTS,
    Candidate,
    Origin,
    Status,
    best_candidate,
    costs_among,
    fittest,
    metrics_among,
)
from .cost_table import Cost, CostTable
from .model_summary import MODEL, ModelSummary
from .pareto import last_gain, pareto_front, pareto_ranks
from .record import RECORD, SearchRecord
from .record_header import SearchHeader
from .search_space import (
    PUBLISHED_PATHS,
    SEARCH_SPACES,
    SHUFFLE_CHOICES,
    SKIPS,
    ArchPath,
    BlockPosition,
    Choice,
    SearchSpace,
    get_search_space,
    require_concentration,
    space_name,
)

__all__ = [
    'COSTS',
    'MODEL',
    'PUBLISHED_PATHS',
    'RECORD',
    'SEARCH_SPACES',
    'SHUFFLE_CHOICES',
    'SKIPS',
    'BlockPosition',
    'Candidate',
    'Choice',
    'Cost',
    'CostTable',
    'ModelSummary',
    'Origin',
    'ArchPath',
    'SearchHeader',
    'SearchRecord',
    'SearchSpace',
    'Status',
    'best_candidate',
    'costs_among',
    'fittest',
    'get_search_space',
    'last_gain',
    'metrics_among',
    'pareto_front',
    'pareto_ranks',
    'require_concentration',
    'space_name',
]
