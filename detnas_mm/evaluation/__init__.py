"""Candidates in, evaluations out."""

from .distributed import DistributedEvaluator
from .faster_coco import faster_coco
from .in_process import InProcessEvaluator
from .job import Job, connect, job_rank
from .journal import Journal
from .local import (
    CandidateEvaluator,
    Evaluation,
    LocalEvaluator,
    Outcome,
    Raced,
    UnknownMetricError,
    judge,
    one_by_one,
)
from .peer import serve
from .precision import (
    autocast_type,
    float32_predictions,
    require_precision,
)
from .race import Race
from .ray import RayEvaluator
from .ray_cluster import RaySettings, require_ray
from .so_far import evaluate_so_far
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
    'Outcome',
    'Race',
    'Raced',
    'RayEvaluator',
    'RaySettings',
    'UnknownMetricError',
    'connect',
    'evaluate_so_far',
    'faster_coco',
    'autocast_type',
    'float32_predictions',
    'require_precision',
    'job_rank',
    'judge',
    'one_by_one',
    'require_ray',
    'serve',
    'unrounded',
]
