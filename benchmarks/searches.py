"""Run `tools/search.py` and read what it has recorded."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from detnas_mm.structures import Candidate, SearchRecord

SEARCH = Path(__file__).resolve().parents[1] / 'tools' / 'search.py'


def run_search(
    config: str | os.PathLike,
    checkpoint: str | os.PathLike,
    work_dir: Path,
    options: Sequence[object],
) -> list[Candidate]:
    """Run a search, or resume it, and return its candidates.

    Args:
        config: Config of the search.
        checkpoint: Checkpoint of the supernet.
        work_dir: Work dir of the search. A complete search in it is not
            repeated.
        options: Further options of `tools/search.py`.
    """
    command = [sys.executable, SEARCH, config, checkpoint]
    command += ['--work-dir', work_dir, '--resume', *options]
    subprocess.run([*map(str, command)], check=True)
    return list(SearchRecord.read(work_dir).candidates)
