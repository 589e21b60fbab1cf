"""A search that is killed again and again, and what it must end with."""

import collections

from .digits_runs import read_candidates
from .search_process import BEGUN, RECORD, noted, without_times

RESULTS = ('best.json', 'best_backbone.py')


def recorded(work_dir):
    """The paths of the whole lines of a record."""
    if not (work_dir / RECORD).exists():
        return []
    content = (work_dir / RECORD).read_bytes()
    whole_lines = content[: content.rfind(b'\n') + 1]
    (work_dir / 'copy').mkdir(exist_ok=True)
    (work_dir / 'copy' / RECORD).write_bytes(whole_lines)
    if not whole_lines:
        return []
    return [one['path'] for one in read_candidates(work_dir / 'copy')]


def search_under_fire(work_dir, kill_once):
    """Runs a search to its end, killed again and again.

    Args:
        work_dir: Its work dir.
        kill_once: Goes on with it until it is killed or done; returns where
            it was killed, ``None`` if it was not.

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
    """Compares a search with one that nobody disturbed."""
    assert without_times(work_dir / RECORD) == without_times(whole / RECORD)
    for name in RESULTS:
        assert without_times(work_dir / name) == without_times(whole / name)
    left = {one.name for one in work_dir.iterdir() if one.suffix != '.log'}
    assert not [name for name in left if 'pending' in name]
