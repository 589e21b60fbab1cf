"""What is in a record, after which crash ever."""

import dataclasses
import json
import math
import os
import pickle
import re

import pytest
from kit.records import FAILED, HEADER, candidate, header

from detnas_mm.structures import SearchRecord
from detnas_mm.utils.errors import InputError

FIRST = [candidate(0), dataclasses.replace(FAILED, index=1), candidate(2)]


@pytest.fixture
def path(tmp_path):
    """A record of three candidates."""
    return write(tmp_path / 'search_record.jsonl', FIRST)


def write(path, candidates):
    with SearchRecord.open(path, HEADER) as record:
        for item in candidates:
            record.append(item)
    return path


def open_record(path):
    return SearchRecord.open(path, HEADER)


def test_what_was_appended_is_read(path):
    record = SearchRecord.read(path)
    assert record.header == HEADER
    assert record.candidates == FIRST
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0] == dataclasses.asdict(HEADER)
    assert [line['index'] for line in lines[1:]] == [0, 1, 2]
    with pytest.raises(ValueError, match='not open'):
        record.append(candidate(3))


def test_a_record_is_read_from_the_work_dir_of_its_search(path, tmp_path):
    assert SearchRecord.read(tmp_path).candidates == FIRST
    path.unlink()
    with pytest.raises(InputError, match='give the work dir'):
        SearchRecord.read(tmp_path)


def test_a_record_is_continued(path):
    before = path.read_bytes()
    # Another place of the checkpoint does not matter.
    moved = header(checkpoint='elsewhere.pth')
    with SearchRecord.open(path, moved) as record:
        assert record.header == HEADER
        assert record.candidates == FIRST
        record.append(candidate(3))
    assert path.read_bytes().startswith(before)
    assert SearchRecord.read(path).candidates == [*FIRST, candidate(3)]


def test_append_returns_when_the_line_is_flushed(tmp_path, monkeypatch):
    """Also the loss of power takes nothing that was recorded."""
    path = tmp_path / 'record'
    flushed = []

    def fsync(handle, real=os.fsync):
        real(handle)
        flushed.append(os.pread(handle, 10000, 0))

    with open_record(path) as record:
        monkeypatch.setattr(os, 'fsync', fsync)
        record.append(candidate(0))
        assert flushed == [path.read_bytes()]
        assert flushed[0].count(b'\n') == 2
        # Another reader, while the file is still open.
        assert SearchRecord.read(path).candidates == record.candidates


def test_torn_last_line_is_dropped_wherever_it_was_cut(path, tmp_path):
    content = path.read_bytes()
    whole = content[: content[:-1].rindex(b'\n') + 1]
    torn = tmp_path / 'torn'
    for size in range(len(whole), len(content)):
        torn.write_bytes(content[:size])
        assert SearchRecord.read(torn).candidates == FIRST[:2]
        # Reading alone changes nothing.
        assert torn.read_bytes() == content[:size]
        with open_record(torn) as record:
            assert record.candidates == FIRST[:2]
            assert torn.read_bytes() == whole
            record.append(FIRST[2])
        assert torn.read_bytes() == content


def test_a_cut_header_is_not_taken_for_a_record(path, tmp_path):
    line = path.read_bytes().split(b'\n')[0]
    torn = tmp_path / 'torn'
    for size in (0, 1, len(line) // 2, len(line)):
        torn.write_bytes(line[:size])
        with pytest.raises(ValueError, match='no header'):
            SearchRecord.read(torn)
    with pytest.raises(InputError, match='no record of a search at'):
        SearchRecord.read(tmp_path / 'none')


@pytest.mark.parametrize('number', [1, 2, 3, 4])
def test_damage_is_refused_with_its_line_number(path, number):
    content = path.read_bytes().split(b'\n')
    for damage in (b'', b'{"index": 0', b'\xff\xfe', b'null', b'3', b'{}'):
        lines = [*content[: number - 1], damage, *content[number:]]
        path.write_bytes(b'\n'.join(lines))
        for read in (SearchRecord.read, open_record):
            with pytest.raises(ValueError, match=f'line {number} .*corrupt'):
                read(path)
        # A refused record is neither changed nor locked.
        assert path.read_bytes() == b'\n'.join(lines)


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_code_in_a_record_is_not_run(tmp_path):
    """A record is plain data, whoever it comes from."""
    target = tmp_path / 'executed'
    content = pickle.dumps(Malicious(target), protocol=0)
    path = tmp_path / 'search_record.jsonl'
    path.write_bytes(content + b'\n')
    for read in (SearchRecord.read, open_record):
        with pytest.raises(ValueError, match='corrupt'):
            read(path)
    assert not target.exists()
    pickle.loads(content)
    assert target.exists()


def test_lines_are_in_the_order_of_finishing_and_read_by_index(tmp_path):
    path = tmp_path / 'record'
    order = [2, 0, 3, 1]
    with open_record(path) as record:
        for index in order:
            record.append(candidate(index))
    for found in (record, SearchRecord.read(path)):
        assert [c.index for c in found.candidates] == [0, 1, 2, 3]
        assert [c.index for c in found.finished] == order


def test_an_index_that_occurs_twice_is_refused(path):
    before = path.read_bytes()
    with (
        open_record(path) as record,
        pytest.raises(ValueError, match='two candidates of index 2'),
    ):
        record.append(candidate(2))
    assert path.read_bytes() == before
    path.write_bytes(before + before.splitlines(keepends=True)[-1])
    with pytest.raises(InputError, match='line 5 of .*corrupt'):
        SearchRecord.read(path)


def test_numbers_that_json_does_not_know_are_refused(path):
    with open_record(path) as record:
        with pytest.raises(ValueError, match='not JSON compliant'):
            record.append(candidate(3, metrics={'loss': math.nan}))
        record.append(candidate(3))
    assert SearchRecord.read(path).candidates == [*FIRST, candidate(3)]


CHANGES = dict(
    config_digest='f00d',
    checkpoint_digest='dead',
    search_space={'stem_channels': 8, 'stage_channels': [8]},
    constraint={'max_macs': 200e6, 'input_size': [224, 224]},
    algorithm={'type': 'random', 'population': 4},
    metric='pascal_voc/mAP',
    objectives=['macs'],
    seed=1,
    shuffle='interleaved',
)
ONLY_FOR_READERS = ('config', 'checkpoint', 'imports', 'planned', 'patience')


def test_every_field_of_the_header_is_tried():
    fields = {field.name for field in dataclasses.fields(HEADER)}
    assert fields - set(CHANGES) == {'version', *ONLY_FOR_READERS}


@pytest.mark.parametrize('field', CHANGES)
def test_record_of_another_search_is_refused(path, field):
    before = path.read_bytes()
    other = header(**{field: CHANGES[field]})
    with pytest.raises(ValueError, match='record of another search') as error:
        SearchRecord.open(path, other)
    (message,) = re.findall('of another search: (.*); use', str(error.value))
    key, _, values = message.partition(': ')
    assert key.partition('.')[0] == field
    there, now = getattr(HEADER, field), CHANGES[field]
    for part in key.split('.')[1:]:
        there, now = there[part], now[part]
    assert values == f'{there!r} there, {now!r} now'
    assert path.read_bytes() == before
    # And the lock is free again.
    open_record(path).close()


@pytest.mark.parametrize('version', [2, 4])
def test_record_of_another_version_is_read_but_not_continued(path, version):
    lines = path.read_text().splitlines()
    values = json.loads(lines[0])
    values.update(version=version, config_digest='of other content', new=1)
    path.write_text('\n'.join([json.dumps(values), *lines[1:]]) + '\n')
    before = path.read_bytes()
    assert SearchRecord.read(path).candidates == FIRST
    with pytest.raises(ValueError, match='another version of detnas_mm'):
        open_record(path)
    assert path.read_bytes() == before


def test_digest_changes_with_what_defines_a_search():
    for field in (*CHANGES, *ONLY_FOR_READERS):
        changed = header(**{field: CHANGES.get(field, 'elsewhere')})
        assert (changed.digest != HEADER.digest) == (field in CHANGES), field


def test_what_is_overwritten_stays_in_a_copy(path):
    """Also when the second try follows a first one that found nothing."""
    before = path.read_bytes()
    for seed in (1, 2):
        SearchRecord.open(path, header(seed=seed), overwrite=True).close()
    record = SearchRecord.read(path)
    assert record.header == header(seed=2)
    assert record.candidates == []
    assert path.with_name(f'{path.name}.bak').read_bytes() == before


def test_a_record_without_candidates_is_replaced(tmp_path):
    """Its search ended before it had scored any: a wrong metric, say."""
    path = write(tmp_path / 'record.jsonl', [])
    with SearchRecord.open(path, header(seed=1)) as record:
        record.append(candidate(0))
    assert SearchRecord.read(path).header == header(seed=1)
    assert SearchRecord.read(path).candidates == [candidate(0)]


def test_the_candidates_that_finished_last_can_be_dropped(tmp_path):
    order = [FIRST[2], FIRST[0], FIRST[1]]
    path = write(tmp_path / 'record', order)
    before = path.read_bytes()
    with open_record(path) as record:
        for count in (0, 1, 3):
            record.drop_last(count)
            assert record.finished == order[: 3 - count]
            assert SearchRecord.read(path).finished == order[: 3 - count]
            assert len(record.candidates) == 3 - count
            for item in order[3 - count :]:
                record.append(item)
            assert path.read_bytes() == before


def difference(before, after):
    """What two searches of these configs say that differs."""
    return header(config=json.dumps(before)).difference(
        header(config=json.dumps(after), config_digest='f00d')
    )


def test_changed_settings_of_the_config_are_named():
    data = dict(pipeline=[dict(type='Load'), dict(scale=[128, 128])])
    other = dict(pipeline=[dict(type='Load'), dict(scale=[640, 640])])
    for before, after, expected in (
        (dict(lr=0.1), dict(lr=0.2), 'config.lr: 0.1 there, 0.2 now'),
        (
            dict(val_dataloader=dict(dataset=data), model=1),
            dict(val_dataloader=dict(dataset=other), model=1),
            'config.val_dataloader.dataset.pipeline.1.scale: [128, 128] '
            'there, [640, 640] now',
        ),
        (
            data,
            dict(pipeline=data['pipeline'][:1]),
            "config.pipeline.1: {'scale': [128, 128]} there, nothing now",
        ),
        ({}, dict(fp16=None), 'config.fp16: nothing there, None now'),
        # Equal for Python.
        (dict(a=1), dict(a=1.0), "config_digest: 'c0ffee' there, 'f00d' now"),
        # Only the first three are named.
        (
            {f'a{i}': 0 for i in range(10)},
            {f'a{i}': 1 for i in range(10)},
            'config.a0: 0 there, 1 now; config.a1: 0 there, 1 now; '
            'config.a2: 0 there, 1 now; and 7 more',
        ),
    ):
        assert difference(before, after) == expected
    # Long values are cut.
    assert len(difference(dict(text='x' * 500), dict(text='y' * 500))) < 200
