"""What has finished ahead of its turn outlives a crash."""

import os
import threading

import pytest

from detnas_mm.executors.base import Evaluation
from detnas_mm.executors.journal import Journal

FIRST, SECOND, THIRD = (0, 1), (2, 3), (1, 1)
GOOD = Evaluation(0.1 + 0.2, {'mAP': 0.1 + 0.2, 'AP50': 2 / 3}, 1 / 7)
FAILED = Evaluation(None, error='lost: ü')


@pytest.fixture
def file(tmp_path):
    return tmp_path / 'journal'


def test_what_was_added_is_there_after_a_crash(file):
    journal = Journal(file, 'search')
    journal.add(FIRST, GOOD)
    journal.add(SECOND, Evaluation(0.5))
    # Without any closing: the next process.
    again = Journal(file, 'search')
    assert again.get(FIRST) == GOOD
    assert again.get(SECOND) == Evaluation(0.5)
    assert again.get(THIRD) is None


def test_a_failure_is_kept_in_memory_only(file):
    journal = Journal(file, 'search')
    journal.add(FIRST, FAILED)
    assert journal.get(FIRST) == FAILED
    assert Journal(file, 'search').get(FIRST) is None


def test_what_is_recorded_is_dropped(file):
    journal = Journal(file, 'search')
    for path in (FIRST, SECOND, THIRD):
        journal.add(path, GOOD)
    journal.forget([FIRST, THIRD])
    for one in (journal, Journal(file, 'search')):
        assert one.get(FIRST) is None
        assert one.get(SECOND) == GOOD
    journal.forget([SECOND])
    assert not file.exists()
    # And it goes on.
    journal.add(FIRST, GOOD)
    assert Journal(file, 'search').get(FIRST) == GOOD


def test_what_another_search_left_is_not_taken(file):
    Journal(file, 'search').add(FIRST, GOOD)
    other = Journal(file, 'another search')
    assert other.get(FIRST) is None
    other.add(SECOND, GOOD)
    again = Journal(file, 'another search')
    assert again.get(FIRST) is None
    assert again.get(SECOND) == GOOD


def test_torn_last_line_is_dropped_wherever_it_was_cut(file):
    journal = Journal(file, 'search')
    journal.add(FIRST, GOOD)
    whole = file.read_bytes()
    journal.add(SECOND, GOOD)
    content = file.read_bytes()
    for size in range(len(whole), len(content)):
        file.write_bytes(content[:size])
        torn = Journal(file, 'search')
        assert torn.get(FIRST) == GOOD
        assert torn.get(SECOND) is None
        torn.add(SECOND, GOOD)
        assert file.read_bytes() == content
    for size in range(len(whole)):
        file.write_bytes(content[:size])
        assert Journal(file, 'search').get(FIRST) is None


@pytest.mark.parametrize('damage', ['{', 'null', '{"path": [1]}', '{"a": 1}'])
def test_damage_is_refused_in_one_line(file, damage):
    journal = Journal(file, 'search')
    journal.add(FIRST, GOOD)
    journal.add(SECOND, GOOD)
    lines = file.read_text().splitlines()
    lines[1] = damage
    file.write_text('\n'.join(lines) + '\n')
    with pytest.raises(ValueError, match='corrupt') as error:
        Journal(file, 'search')
    assert str(file) in str(error.value)
    assert '\n' not in str(error.value)


def test_an_edited_score_is_refused(file):
    Journal(file, 'search').add(FIRST, GOOD)
    file.write_text(file.read_text().replace('"seconds": 0.', '"seconds": 1.'))
    with pytest.raises(ValueError, match='corrupt .*changed'):
        Journal(file, 'search')


def test_threads_may_share_it(file):
    journal = Journal(file, 'search')

    def write(start):
        for index in range(20):
            journal.add((start, index), Evaluation(float(index)))
            if index % 5 == 4:
                journal.forget([(start, index)])

    threads = [threading.Thread(target=write, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    again = Journal(file, 'search')
    for start in range(3):
        for index in range(20):
            kept = again.get((start, index))
            assert (kept is None) == (index % 5 == 4)


def test_without_a_file_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    journal = Journal()
    journal.add(FIRST, GOOD)
    assert journal.get(FIRST) == GOOD
    journal.forget([FIRST])
    assert journal.get(FIRST) is None
    assert os.listdir(tmp_path) == []
