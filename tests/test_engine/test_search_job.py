"""A search by several processes that are killed or stopped."""

import os
import signal
import time

import pytest
from kit.search_process import (
    BEGUN,
    ENDED,
    RECORD,
    free_port,
    noted,
    search,
    search_as_rank,
    start,
    without_times,
)

RANKS = 3
PATIENCE = dict(type='distributed', patience=2)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """The work dir of a search by one process."""
    work_dir = tmp_path_factory.mktemp('job') / 'whole'
    process = start(search, work_dir)
    process.join(300)
    assert process.exitcode == 0
    return work_dir


class SearchJob:
    """A search by three processes.

    Args:
        work_dir: Work dir of rank 0; the others have one inside, as those of
            the command.
        delays: Seconds that a batch takes on each rank.
    """

    def __init__(self, work_dir, delays=(0.0,) * RANKS):
        port = free_port()
        self.folders = [work_dir] + [
            work_dir / f'rank{rank}' for rank in range(1, RANKS)
        ]
        work_dir.mkdir(exist_ok=True)
        self.processes = [
            start(
                search_as_rank,
                rank,
                RANKS,
                port,
                folder,
                delay=delays[rank],
                resume=True,
                executor=PATIENCE,
                checkpoint=work_dir.parent / 'toy.pth',
            )
            for rank, folder in enumerate(self.folders)
        ]

    def noted(self, name):
        """The paths of a log, of all ranks."""
        return [path for one in self.folders for path in noted(one, name)]

    def wait_for(self, condition):
        end = time.monotonic() + 200
        while not condition():
            assert time.monotonic() < end, 'it never happened'
            time.sleep(0.02)

    def exit_codes(self, seconds=60):
        """The exit codes of all ranks, which must end soon."""
        end = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(0, end - time.monotonic()))
        codes = [process.exitcode for process in self.processes]
        for process in self.processes:
            process.kill()
        assert None not in codes, codes
        return codes


def assert_goes_on_to(whole, work_dir):
    """Goes on with a search: nothing that has ended is evaluated again."""
    job = SearchJob(work_dir)
    assert job.exit_codes(300) == [0] * RANKS
    assert without_times(work_dir / RECORD) == without_times(whole / RECORD)
    ended = job.noted(ENDED)
    assert len(ended) == len(set(ended)) == 12


def test_search_by_three_is_that_by_one(whole):
    assert_goes_on_to(whole, whole.parent / 'three')


def test_rank_0_is_killed(whole):
    """What the others had finished out of order is not lost."""
    work_dir = whole.parent / 'rank0'
    job = SearchJob(work_dir, delays=(60, 0, 0))
    # Rank 0 has one of the first four, the others finish the rest.
    job.wait_for(lambda: noted(job.folders[0], BEGUN))
    job.wait_for(lambda: len(job.noted(ENDED)) == 3)
    time.sleep(0.5)
    job.processes[0].kill()
    codes = job.exit_codes()
    assert codes == [-signal.SIGKILL, 2, 2]
    assert_goes_on_to(whole, work_dir)


def test_another_rank_is_killed(whole):
    """The run ends, in the middle of the candidates of the others."""
    work_dir = whole.parent / 'rank1'
    job = SearchJob(work_dir, delays=(60, 60, 0))
    job.wait_for(lambda: noted(job.folders[0], BEGUN))
    job.wait_for(lambda: noted(job.folders[1], BEGUN))
    job.wait_for(lambda: len(job.noted(ENDED)) == 2)
    job.processes[1].kill()
    codes = job.exit_codes()
    # Rank 0 says what happened, rank 2 does as it is told.
    assert codes == [2, -signal.SIGKILL, 0]
    assert_goes_on_to(whole, work_dir)


def test_scheduler_stops_all_ranks(whole):
    work_dir = whole.parent / 'stopped'
    job = SearchJob(work_dir, delays=(60, 60, 0))
    job.wait_for(lambda: noted(job.folders[0], BEGUN))
    job.wait_for(lambda: noted(job.folders[1], BEGUN))
    job.wait_for(lambda: len(job.noted(ENDED)) == 2)
    time.sleep(0.5)
    for process in job.processes:
        os.kill(process.pid, signal.SIGTERM)
    assert job.exit_codes() == [143] * RANKS
    assert_goes_on_to(whole, work_dir)
