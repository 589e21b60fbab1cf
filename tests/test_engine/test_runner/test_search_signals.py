"""Ctrl-C and SIGTERM in the middle of a candidate."""

import os
import signal
import subprocess
import time

import pytest
from kit.search_process import (
    BEGUN,
    RECORD,
    noted,
    search,
    start,
    without_times,
)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """The work dir of a search that nobody interrupted."""
    work_dir = tmp_path_factory.mktemp('signals') / 'whole'
    process = start(search, work_dir)
    process.join(300)
    assert process.exitcode == 0
    return work_dir


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'it never happened'
        time.sleep(0.02)


@pytest.mark.parametrize(
    ('signum', 'code'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_search_stops_within_a_candidate_and_goes_on(whole, signum, code):
    work_dir = whole.parent / f'stopped{code}'
    # A candidate takes minutes.
    process = start(search, work_dir, delay=60, resume=True)
    wait_until(lambda: noted(work_dir, BEGUN))
    os.kill(process.pid, signum)
    process.join(30)
    assert process.exitcode == code
    assert (work_dir / RECORD).read_bytes().count(b'\n') == 1
    process = start(search, work_dir, resume=True)
    process.join(300)
    assert process.exitcode == 0
    assert without_times(work_dir / RECORD) == without_times(whole / RECORD)


def test_workers_of_data_loaders_stop_as_well(whole):
    """The signal may reach them first: no candidate fails of it."""
    work_dir = whole.parent / 'loaders'
    process = start(
        search, work_dir, delay=60, resume=True, num_workers=1, own_group=True
    )
    wait_until(lambda: noted(work_dir, BEGUN))
    os.killpg(process.pid, signal.SIGTERM)
    process.join(30)
    assert process.exitcode == 143
    assert (work_dir / RECORD).read_bytes().count(b'\n') == 1
    wait_until(lambda: not members_of_group(process.pid), 20)


def members_of_group(group):
    listed = subprocess.run(
        ['ps', '-o', 'stat=', '-g', str(group)], capture_output=True, text=True
    )
    return [one for one in listed.stdout.split() if not one.startswith('Z')]
