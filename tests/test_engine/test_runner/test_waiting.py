"""What a search says about its images."""

import logging
from types import SimpleNamespace

from detnas_mm.engine.runner.waiting import WaitingForImages


def batches(are_kept, needed_bytes=3_000_000_000):
    return SimpleNamespace(
        dataset=range(100),
        are_kept=are_kept,
        num_bytes=needed_bytes * are_kept,
        needed_bytes=needed_bytes,
    )


def run(waits, *loaders):
    """Candidates that wait so long of 10 s each; what is logged."""
    records = []
    logger = logging.Logger('waiting')
    logger.addHandler(SimpleNamespace(level=0, handle=records.append))
    waiting = WaitingForImages(logger, loaders)

    for seconds in waits:
        waiting.report(dict(reading=seconds, inference=10 - seconds))
    return [(one.levelname, one.getMessage()) for one in records]


def test_kept_images_are_said_once():
    lines = run([9, 0, 0], batches(True), batches(False))
    assert lines == [
        ('INFO', '100 decoded images are kept in memory, 3.00 GB')
    ]


def test_reading_that_holds_up_is_said_once_with_the_remedy():
    lines = run([1, 1, 4, 5], batches(False), batches(False))
    ((level, text),) = lines
    assert level == 'WARNING'
    assert '40%' in text
    assert 'val_cfg.cache_gb=6.1' in text


def test_the_first_pass_always_reads():
    assert run([9, 1, 2], batches(False)) == []


def test_images_in_memory_need_no_more_memory():
    lines = run([1, 5], batches(True))
    assert 'cache_gb' not in lines[-1][1]
