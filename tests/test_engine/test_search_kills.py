"""kill -9 at any moment: the record is that of a search nobody stopped.

``pytest -m slow tests/test_engine/test_search_kills.py --kills 100 -s`` kills
a hundred times and reports where.
"""

import collections
import shutil
import signal
import time

import numpy as np
import pytest
from kit.digits_runs import read_candidates
from kit.search_process import (
    BEGUN,
    DEATHS,
    PASSES,
    RECORD,
    noted,
    search,
    start,
    without_times,
)

RESULTS = ('best.json', 'best_backbone.py')
# Seconds for a search of some seconds, on a machine that is very busy.
PATIENCE = 600


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """The work dir of a search that nobody interrupted."""
    work_dir = tmp_path_factory.mktemp('kills') / 'whole'
    process = start(search, work_dir)
    process.join(PATIENCE)
    assert process.exitcode == 0
    return work_dir


@pytest.fixture
def work_dir(whole):
    """An empty work dir beside it, for a search of the same checkpoint."""
    folder = whole.parent / 'search'
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def kill_once(work_dir, rng):
    """Goes on with a search until it is killed, or done.

    Returns:
        Where it was killed; ``None`` if it was not.
    """
    place = str(rng.choice(['time', *DEATHS]))
    if place == 'time':
        process = start(search, work_dir, resume=True, delay=0.01)
        time.sleep(rng.uniform(0.1, 1.5))
        process.kill()
    else:
        passes = int(rng.integers(PASSES[place] // 2 + 1))
        process = start(search, work_dir, resume=True, death=(place, passes))
    process.join(PATIENCE)
    assert process.exitcode in (0, -signal.SIGKILL)
    return place if process.exitcode else None


def recorded(work_dir):
    if not (work_dir / RECORD).exists():
        return []
    content = (work_dir / RECORD).read_bytes()
    whole_lines = content[: content.rfind(b'\n') + 1]
    (work_dir / 'copy').mkdir(exist_ok=True)
    (work_dir / 'copy' / RECORD).write_bytes(whole_lines)
    if not whole_lines:
        return []
    return [one['path'] for one in read_candidates(work_dir / 'copy')]


def search_under_fire(work_dir, rng):
    """Runs a search to its end, killed again and again."""
    killed = collections.Counter()
    while True:
        before, begun = recorded(work_dir), len(noted(work_dir, BEGUN))
        place = kill_once(work_dir, rng)
        # Nothing that was on disk is evaluated again.
        assert not set(noted(work_dir, BEGUN)[begun:]) & set(before)
        assert recorded(work_dir)[: len(before)] == before
        if place is None:
            return killed
        killed[place] += 1


def assert_equal_to(whole, work_dir):
    assert without_times(work_dir / RECORD) == without_times(whole / RECORD)
    for name in RESULTS:
        assert without_times(work_dir / name) == without_times(whole / name)
    left = {one.name for one in work_dir.iterdir() if one.suffix != '.log'}
    assert not [name for name in left if 'pending' in name]


@pytest.mark.parametrize('place', DEATHS)
def test_killed_at_a_place(whole, work_dir, place):
    """Once at each place, in the middle of the search."""
    process = start(search, work_dir, death=(place, PASSES[place] // 2))
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL
    before = recorded(work_dir)
    assert 0 < len(before) < 12
    begun = len(noted(work_dir, BEGUN))
    process = start(search, work_dir, resume=True)
    process.join(PATIENCE)
    assert process.exitcode == 0
    assert_equal_to(whole, work_dir)
    assert not set(noted(work_dir, BEGUN)[begun:]) & set(before)


@pytest.mark.slow
@pytest.mark.timeout(0)  # It depends on `--kills`.
def test_killed_at_random_moments(whole, work_dir, request):
    wanted = request.config.getoption('--kills')
    rng = np.random.default_rng(0)
    killed, searches = collections.Counter(), 0
    while killed.total() < wanted:
        shutil.rmtree(work_dir, ignore_errors=True)
        killed += search_under_fire(work_dir, rng)
        searches += 1
        assert_equal_to(whole, work_dir)
        print(
            f'\n{killed.total()} kills; searches: {searches}, each with the '
            f'record of an undisturbed one: {dict(killed)}'
        )
