"""tools/search.py in a process of its own that notes what it does.

The process is forked from a server that has imported what it needs: it starts
in two seconds instead of ten.
"""

import contextlib
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
from detnas_mm.structures import SearchRecord

from .digits_runs import ROOT, use_one_thread
from .search_process import BEGUN, ERRORS, dies

# File of a work dir: what its processes did, each with its id.
MOMENTS = 'moments.log'
INSIDE, BETWEEN, WRITING = 'inside', 'between', 'writing'


def search_command(work_dir, args, death=None):
    """Runs ``tools/search.py``.

    Args:
        work_dir: Its work dir.
        args: Its command line.
        death: Where the process kills itself, see ``dies``.
    """
    work_dir = Path(work_dir)
    work_dir.mkdir(exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    output = os.open(work_dir / ERRORS, flags)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output, stream.fileno())
    use_one_thread()
    sys.argv = ['search.py', *map(str, args)]
    with _notes(work_dir), dies(death):
        runpy.run_path(str(ROOT / 'tools' / 'search.py'), run_name='__main__')


def last_moment(work_dir, pid):
    """Returns what a process did last, ``None`` before a candidate."""
    file = Path(work_dir) / MOMENTS
    lines = file.read_text().splitlines() if file.exists() else []
    own = [line.split()[1] for line in lines if line.startswith(f'{pid} ')]
    return own[-1] if own else None


@contextlib.contextmanager
def _notes(work_dir):
    """Notes when a candidate begins, ends, and is written."""

    def note(moment):
        with open(work_dir / MOMENTS, 'a') as file:
            file.write(f'{os.getpid()} {moment}\n')

    def score(validation, path):
        with open(work_dir / BEGUN, 'a') as file:
            file.write(''.join(map(str, path)) + '\n')
        note(INSIDE)
        try:
            return real_score(validation, path)
        finally:
            note(BETWEEN)

    def append(record, candidate):
        note(WRITING)
        real_append(record, candidate)
        note(BETWEEN)

    real_score, real_append = CandidateValidation.score, SearchRecord.append
    with (
        mock.patch.object(CandidateValidation, 'score', score),
        mock.patch.object(SearchRecord, 'append', append),
    ):
        yield
