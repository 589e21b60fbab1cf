"""Candidates in, evaluations out."""

from .distributed import DistributedEvaluator, serve
from .in_process import InProcessEvaluator
from .job import Job, connect, job_rank
from .journal import Journal
from .local import (
    CandidateEvaluator,
    Evaluation,
    LocalEvaluator,
    UnknownMetricError,
    judge,
)
from .ray import RayEvaluator
from .ray_cluster import RaySettings, require_ray
from .unrounded import unrounded
from .watch import JobError, JobLimits

__all__ = [
    'CandidateEvaluator',
    'DistributedEvaluator',
    'Evaluation',
    'InProcessEvaluator',
    'Job',
    'JobError',
    'JobLimits',
    'Journal',
    'LocalEvaluator',
    'RayEvaluator',
    'RaySettings',
    'UnknownMetricError',
    'connect',
    'job_rank',
    'judge',
    'require_ray',
    'serve',
    'unrounded',
]
