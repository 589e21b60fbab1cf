"""kill -9 of tools/search.py on real images, with a real detector.

Slow: ``pytest -m slow tests/test_tools/test_killed_command.py -s`` prints how
it was killed; ``--kills 100`` kills a hundred times.
"""

import collections
import shutil
import signal
import time

import numpy as np
import pytest
from kit.command_lines import SMALL_SEARCH, config_file, loading_options
from kit.command_process import search_command
from kit.digits_runs import read_candidates
from kit.kills import assert_equal_to, search_under_fire
from kit.search_process import BEGUN, noted, start

PATIENCE = 600
CONFIG = config_file('retinanet_detnas-search-tiny_fpn_digits')
# Of the places where the process may kill itself, those of any search.
PLACES = ('write', 'flush', 'replace')


@pytest.fixture
def begin(digits, supernet):
    """Starts or resumes a search of 3 generations of 4."""
    options = [
        *(*loading_options(digits, 'train', 'val'), *SMALL_SEARCH),
        *('val_cfg.generations=3', 'val_cfg.algorithm.population=4'),
    ]

    def begin(work_dir, **kwargs):
        args = [CONFIG, supernet, '--work-dir', work_dir, '--resume']
        args += ['--cfg-options', *options]
        preload = ['kit.command_process']
        return start(search_command, work_dir, args, preload=preload, **kwargs)

    return begin


def kill_once(begin, work_dir, rng, seconds):
    """Resumes a search until it is killed or done.

    Args:
        begin: Starts it.
        work_dir: Its work dir.
        rng: Draws the moment.
        seconds: How long a candidate takes.

    Returns:
        How it was killed; ``None`` if it was not.
    """
    how = rng.choice(['start', 'search', 'search', 'search', *PLACES])
    if how in PLACES:
        process = begin(work_dir, death=(how, int(rng.integers(4))))
    else:
        before = noted(work_dir, BEGUN)
        process = begin(work_dir)
        # The process spends most of its time with its start.
        while how == 'search' and process.is_alive():
            if noted(work_dir, BEGUN) != before:
                break
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 2.5 * seconds))
        process.kill()
    process.join(PATIENCE)
    assert process.exitcode in (0, -signal.SIGKILL)
    return str(how) if process.exitcode else None


@pytest.mark.slow
@pytest.mark.timeout(0)  # It depends on `--kills`.
def test_real_search_killed_at_random_moments(begin, tmp_path, request):
    """Twenty times or more, each time resumed."""
    whole, work_dir = tmp_path / 'whole', tmp_path / 'search'
    process = begin(whole)
    process.join(PATIENCE)
    assert process.exitcode == 0
    times = [candidate['seconds'] for candidate in read_candidates(whole)]
    wanted = request.config.getoption('--kills')
    rng = np.random.default_rng(0)
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
