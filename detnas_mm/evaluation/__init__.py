"""Candidates in, evaluations out."""

from .distributed import DistributedEvaluator, Job, connect, job_rank
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
    'DistributedEvaluator',
    'Evaluation',
    'Job',
    'LocalEvaluator',
    'UnknownMetricError',
    'connect',
    'job_rank',
    'judge',
    'unrounded',
]
