"""kill -9 of tools/search.py on real images, with a real detector.

Slow: ``pytest -m slow tests/test_tools/test_killed_command.py -s`` says where
it was killed; ``--kills 100`` kills a hundred times.
"""

import collections
import shutil
import signal
import time

import numpy as np
import pytest
from kit.command_lines import (
    ALL_BOXES,
    RECALIBRATION,
    config_file,
    loading_options,
)
from kit.command_process import last_moment, search_command
from kit.digits_runs import read_candidates
from kit.kills import assert_equal_to, search_under_fire
from kit.search_process import start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]

PATIENCE = 600
# Of the places where the process may kill itself, those of any search.
PLACES = ('write', 'flush', 'replace')


@pytest.fixture(scope='module')
def begin(digits, supernet):
    """Starts a search of 3 generations of 4, or goes on with it."""
    options = [
        *loading_options(digits, 'train', 'val'),
        *RECALIBRATION,
        *ALL_BOXES,
        'val_cfg.generations=3',
        'val_cfg.algorithm.population=4',
        'val_cfg.algorithm.parents=2',
    ]
    config = config_file('retinanet_detnas-search-tiny_fpn_digits')

    def begin(work_dir, **kwargs):
        args = [config, supernet, '--work-dir', work_dir, '--resume']
        args += ['--cfg-options', *options]
        return start(
            search_command,
            work_dir,
            args,
            preload=['kit.command_process'],
            **kwargs,
        )

    return begin


@pytest.fixture(scope='module')
def whole(begin, tmp_path_factory):
    """The work dir of a search that nobody interrupted."""
    work_dir = tmp_path_factory.mktemp('kills') / 'whole'
    process = begin(work_dir)
    process.join(PATIENCE)
    assert process.exitcode == 0
    return work_dir


def kill_once(begin, work_dir, rng, seconds):
    """Goes on with a search until it is killed, or done.

    Args:
        begin: Starts it.
        work_dir: Its work dir.
        rng: Draws the moment.
        seconds: How long a candidate takes.

    Returns:
        Where it was killed; ``None`` if it was not.
    """
    how = rng.choice(['start', 'place', 'search', 'search', 'search'])
    if how == 'place':
        place = str(rng.choice(PLACES))
        process = begin(work_dir, death=(place, int(rng.integers(4))))
    else:
        process = begin(work_dir)
        if how == 'search':
            # Most of its time it starts.
            while process.is_alive() and not last_moment(
                work_dir, process.pid
            ):
                time.sleep(0.01)
        time.sleep(rng.uniform(0, 2.5 * seconds))
        process.kill()
    process.join(PATIENCE)
    assert process.exitcode in (0, -signal.SIGKILL)
    if not process.exitcode:
        return None
    moment = last_moment(work_dir, process.pid)
    return moment or 'before its first candidate'


def test_real_search_killed_at_random_moments(begin, whole, tmp_path, request):
    """Twenty times or more, each time gone on with."""
    wanted = request.config.getoption('--kills')
    rng = np.random.default_rng(0)
    times = [one['seconds'] for one in read_candidates(whole)]
    work_dir = tmp_path / 'search'
    killed, searches = collections.Counter(), 0
    while killed.total() < wanted:
        shutil.rmtree(work_dir, ignore_errors=True)
        killed += search_under_fire(
            work_dir,
            lambda: kill_once(begin, work_dir, rng, np.mean(times)),
        )
        searches += 1
        assert_equal_to(whole, work_dir)
        print(
            f'\n{killed.total()} kills in {searches} searches, each with the '
            f'record of an undisturbed one: {dict(killed)}',
            flush=True,
        )
