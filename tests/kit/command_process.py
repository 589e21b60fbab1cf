"""tools/search.py in a process that notes which evaluations begin.

The process is forked from a server that has imported what it needs: it starts
in two seconds instead of ten.
"""

import os
import runpy
import sys
from pathlib import Path
from unittest import mock

# What the command imports when it builds the detector.
import mmdet.datasets
import mmdet.evaluation
import mmdet.models  # noqa: F401

from detnas_mm.engine.runner.candidate_validation import CandidateValidation

from .digits_runs import ROOT, use_one_thread
from .search_process import BEGUN, ERRORS, dies


def search_command(work_dir, args, death=None):
    """Runs ``tools/search.py``; ``death`` is where it kills itself."""
    work_dir = Path(work_dir)
    work_dir.mkdir(exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    output = os.open(work_dir / ERRORS, flags)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output, stream.fileno())
    use_one_thread()
    sys.argv = ['search.py', *map(str, args)]
    real_score = CandidateValidation.score

    def score(validation, path):
        with open(work_dir / BEGUN, 'a') as file:
            file.write(''.join(map(str, path)) + '\n')
        return real_score(validation, path)

    with mock.patch.object(CandidateValidation, 'score', score), dies(death):
        runpy.run_path(str(ROOT / 'tools' / 'search.py'), run_name='__main__')
