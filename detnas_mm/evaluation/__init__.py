"""Candidates in, evaluations out."""

from .local import (
    CandidateEvaluator,
    Evaluation,
    LocalEvaluator,
    UnknownMetricError,
    judge,
)
from .unrounded import unrounded

__all__ = [
    'CandidateEvaluator',
    'Evaluation',
    'LocalEvaluator',
    'UnknownMetricError',
    'judge',
    'unrounded',
]
