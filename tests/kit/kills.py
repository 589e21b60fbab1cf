"""A search that is killed again and again, and what it must end with."""

import collections
import json

from .digits_runs import read_candidates, without_seconds
from .search_process import BEGUN, RECORD, noted


def recorded(work_dir):
    """Returns the paths of the whole lines of a record, in their order."""
    file = work_dir / RECORD
    if not file.exists():
        return []
    *lines, _ = file.read_text().split('\n')
    return [json.loads(line)['path'] for line in lines[1:]]


def search_under_fire(work_dir, kill_once):
    """Runs a search to its end, although it is killed again and again.

    Args:
        work_dir: Its work dir.
        kill_once: Resumes it until it is killed or done. Returns where it was
            killed, ``None`` if it was not.

    Returns:
        How often it was killed where.
    """
    killed = collections.Counter()
    while True:
        before, begun = recorded(work_dir), len(noted(work_dir, BEGUN))
        place = kill_once()
        # Nothing that was on disk is evaluated again.
        assert not set(noted(work_dir, BEGUN)[begun:]) & set(before)
        assert recorded(work_dir)[: len(before)] == before
        if place is None:
            return killed
        killed[place] += 1


def assert_equal_to(whole, work_dir):
    """Compares a search with an undisturbed one, apart from times."""
    found, expected = (_results(folder) for folder in (work_dir, whole))
    assert found == expected


def _results(folder):
    header = (folder / RECORD).read_text().splitlines()[0]
    return dict(
        header=header,
        candidates=without_seconds(read_candidates(folder)),
        best=without_seconds([json.loads((folder / 'best.json').read_text())]),
        backbone=(folder / 'best_backbone.py').read_text(),
    )
