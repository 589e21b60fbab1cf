"""The same search by several ranks: the record is that of one process."""

import pytest
from kit.kills import assert_equal_to
from kit.search_process import (
    ENDED,
    ERRORS,
    free_port,
    noted,
    search,
    search_as_rank,
    start,
)
from kit.toy_search import toy_checkpoint

PATIENCE = 300


def start_ranks(work_dir, checkpoints, **settings):
    """Starts a search by two ranks; rank 1 has a work dir of its own."""
    port = free_port()
    work_dir.mkdir()
    return [
        start(
            search_as_rank, rank, 2, port, folder, checkpoint=file, **settings
        )
        for rank, (folder, file) in enumerate(
            zip([work_dir, work_dir / 'rank1'], checkpoints, strict=True)
        )
    ]


def exit_codes(processes):
    for process in processes:
        process.join(PATIENCE)
    return [process.exitcode for process in processes]


@pytest.mark.parametrize('lookahead', [0, 1])
def test_two_ranks_search_as_one_process(tmp_path, lookahead):
    checkpoint = toy_checkpoint(tmp_path / 'toy.pth')
    settings = dict(lookahead=lookahead, checkpoint=checkpoint)
    whole = tmp_path / 'whole'
    assert exit_codes([start(search, whole, **settings)]) == [0]
    work_dir = tmp_path / 'search'
    ranks = start_ranks(
        work_dir, [checkpoint] * 2, lookahead=lookahead, delay=0.05
    )
    assert exit_codes(ranks) == [0, 0]
    assert_equal_to(whole, work_dir)
    ended = [noted(folder, ENDED) for folder in (work_dir, work_dir / 'rank1')]
    assert min(map(len, ended)) > 0
    assert len(set(ended[0] + ended[1])) == len(ended[0] + ended[1]) == 12


def test_rank_with_another_checkpoint_ends_the_search(tmp_path):
    files = [toy_checkpoint(tmp_path / f'{seed}.pth', seed) for seed in (0, 7)]
    work_dir = tmp_path / 'search'
    ranks = start_ranks(work_dir, files, delay=0.5)
    assert 0 not in exit_codes(ranks)
    assert not noted(work_dir / 'rank1', ENDED)
    errors = (work_dir / 'rank1' / ERRORS).read_text()
    assert 'checkpoint_digest' in errors
