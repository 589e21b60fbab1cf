"""kill -9 at any moment: the resumed search has the undisturbed record.

``pytest -m slow tests/test_engine/test_runner/test_search_kills.py --kills 100
-s`` kills a hundred times and prints where.
"""

import collections
import shutil
import signal
import time

import numpy as np
import pytest
from kit.kills import assert_equal_to, recorded, search_under_fire
from kit.search_process import (
    BEGUN,
    DEATHS,
    PASSES,
    noted,
    search,
    start,
)

# Seconds for a search of some seconds, on a machine that is very busy.
PATIENCE = 600


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """The work dir of an undisturbed search."""
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
    """Resumes a search until it is killed or done.

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


@pytest.mark.parametrize(
    'place', ['write', 'replace', 'validation', 'generation']
)
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
        killed += search_under_fire(work_dir, lambda: kill_once(work_dir, rng))
        searches += 1
        assert_equal_to(whole, work_dir)
        print(
            f'\n{killed.total()} kills; searches: {searches}, each with the '
            f'record of an undisturbed one: {dict(killed)}'
        )
