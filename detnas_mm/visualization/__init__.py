"""Figures and the report of a search, from its record alone."""

from .architecture import draw_architecture
from .data import (
    Progress,
    Reference,
    Search,
    Timing,
    choice_shares,
    make_search,
    predictions,
    progress,
    timing,
)
from .report import write_report

__all__ = [
    'Progress',
    'Reference',
    'Search',
    'Timing',
    'choice_shares',
    'draw_architecture',
    'make_search',
    'predictions',
    'progress',
    'timing',
    'write_report',
]
