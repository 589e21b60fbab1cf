"""Figures and the report of a search, from its record alone."""

from .architecture import draw_architecture
from .data import (
    ChoiceShares,
    CostScores,
    Progress,
    Reference,
    Search,
    choice_shares,
    cost_scores,
    fittest,
    make_search,
    progress,
)
from .report import write_report
from .timing import Timing, timing

__all__ = [
    'ChoiceShares',
    'CostScores',
    'Progress',
    'Reference',
    'Search',
    'Timing',
    'choice_shares',
    'cost_scores',
    'draw_architecture',
    'fittest',
    'make_search',
    'progress',
    'timing',
    'write_report',
]
