"""Executors: paths in, results out."""

from .base import Executor, PathEvaluator, Result, WrongSearchError
from .serial import Serial

__all__ = ['Executor', 'PathEvaluator', 'Result', 'Serial', 'WrongSearchError']
