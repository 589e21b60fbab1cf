"""A search by several processes that are killed or stopped."""

import os
import signal
import time

import pytest
from kit.search_process import (
    BEGUN,
    ENDED,
    ERRORS,
    RECORD,
    free_port,
    noted,
    search,
    search_as_rank,
    start,
    without_times,
)
from kit.toy_search import toy_checkpoint

RANKS = 3
PATIENCE = dict(type='distributed', patience=2)
# The third rank ends two candidates while the others have one each: it may
# not be so fast that it takes theirs before they look.
ALL_BEGIN = (60, 60, 0.5)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """The work dir of a search by one process."""
    work_dir = tmp_path_factory.mktemp('job') / 'whole'
    process = start(search, work_dir)
    process.join(300)
    assert process.exitcode == 0
    return work_dir


class SearchJob:
    """A search by several processes, by default three.

    Args:
        work_dir: Work dir of rank 0; the others have one inside, as those of
            the command.
        delays: Seconds that a batch takes on each rank.
        settings: Further ones of each process.
    """

    def __init__(self, work_dir, delays=(0.0,) * RANKS, **settings):
        port = free_port()
        ranks = len(delays)
        self.folders = [work_dir] + [
            work_dir / f'rank{rank}' for rank in range(1, ranks)
        ]
        work_dir.mkdir(exist_ok=True)
        self.processes = [
            start(
                search_as_rank,
                rank,
                ranks,
                port,
                folder,
                delay=delays[rank],
                resume=True,
                executor=PATIENCE,
                checkpoint=work_dir.parent / 'toy.pth',
                **settings,
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
    job = SearchJob(work_dir, delays=ALL_BEGIN)
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
    job = SearchJob(work_dir, delays=ALL_BEGIN)
    job.wait_for(lambda: noted(job.folders[0], BEGUN))
    job.wait_for(lambda: noted(job.folders[1], BEGUN))
    job.wait_for(lambda: len(job.noted(ENDED)) == 2)
    time.sleep(0.5)
    for process in job.processes:
        os.kill(process.pid, signal.SIGTERM)
    assert job.exit_codes() == [143] * RANKS
    assert_goes_on_to(whole, work_dir)


def errors_of(folders):
    """What the ranks said."""
    return ''.join((folder / ERRORS).read_text() for folder in folders)


def stopped_with_loaders(work_dir, stop):
    """Exit codes and output of two ranks whose images have workers.

    Args:
        work_dir: Where they search.
        stop: Given their ids, which are those of their groups.
    """
    toy_checkpoint(work_dir.parent / 'toy.pth')
    job = SearchJob(
        work_dir,
        delays=(60, 60),
        num_workers=1,
        own_group=True,
        note_errors=True,
    )
    for folder in job.folders:
        job.wait_for(lambda folder=folder: noted(folder, BEGUN))
    stop([process.pid for process in job.processes])
    codes = job.exit_codes()
    output = errors_of(job.folders)
    assert 'Traceback' not in output
    assert 'DataLoader worker' not in output
    return codes, output


def test_ranks_stop_with_the_workers_of_their_data_loaders(tmp_path):
    """Schedulers signal the whole group."""

    def stop(ranks):
        for rank in ranks:
            os.killpg(rank, signal.SIGTERM)

    codes, _ = stopped_with_loaders(tmp_path / 'stopped', stop)
    assert codes == [143, 143]


def test_a_killed_rank_is_named_whatever_data_loaders_do(tmp_path):
    def stop(ranks):
        os.killpg(ranks[1], signal.SIGKILL)

    codes, output = stopped_with_loaders(tmp_path / 'killed', stop)
    assert codes == [2, -signal.SIGKILL]
    assert 'error: rank 1 has given no sign of life' in output


def test_a_rank_with_another_checkpoint_ends_the_search(tmp_path):
    """Before it gives a score: the path is the same on each machine."""
    files = [toy_checkpoint(tmp_path / f'{seed}.pth', seed) for seed in (0, 7)]
    port = free_port()
    folders = [tmp_path / 'search', tmp_path / 'search' / 'rank1']
    folders[0].mkdir()
    ranks = [
        start(
            search_as_rank,
            rank,
            2,
            port,
            folder,
            delay=0.2,
            checkpoint=file,
            note_errors=True,
        )
        for rank, (folder, file) in enumerate(zip(folders, files, strict=True))
    ]
    for rank in ranks:
        rank.join(300)
    assert [rank.exitcode for rank in ranks] == [2, 2]
    assert not noted(folders[1], BEGUN)
    lines = [
        line
        for line in errors_of(folders).splitlines()
        if line.startswith('error: rank 1 on ')
    ]
    assert len(lines) == 2
    assert 'checkpoint_digest' in lines[0]
