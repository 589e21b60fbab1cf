"""A search that is killed goes on where it was."""

import json
import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from kit.digits_runs import (
    read_candidates,
    run_search,
    search_config,
    without_seconds,
)
from kit.toy_search import ToyMetric, toy_checkpoint, toy_runner
from mmengine.runner import Runner

from detnas_mm.cost import Bounds, Constraint
from detnas_mm.engine.search.header import build_search_header
from detnas_mm.engine.search_checks import require_new_record
from detnas_mm.executors.base import Evaluation
from detnas_mm.executors.journal import Journal
from detnas_mm.structures import SearchRecord, get_search_space

RECORD = 'search_record.jsonl'
PENDING = 'search_record.pending.jsonl'


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """The work dir of a toy search that nobody interrupted."""
    work_dir = tmp_path_factory.mktemp('toy') / 'whole'
    toy_runner(work_dir).val()
    return work_dir


@pytest.fixture
def part(whole):
    """A copy of that work dir, to be damaged."""
    work_dir = whole.parent / 'part'
    shutil.copytree(whole, work_dir)
    yield work_dir
    shutil.rmtree(work_dir)


def resume(work_dir, **settings):
    """Goes on with a toy search; returns the number of validations."""
    scorer = ToyMetric()
    toy_runner(work_dir, scorer, resume=True, **settings).val()
    return scorer.calls


def test_same_seed_gives_the_same_toy_record(whole, part):
    shutil.rmtree(part)
    toy_runner(part).val()
    again, before = read_candidates(part), read_candidates(whole)
    assert without_seconds(again) == without_seconds(before)
    assert len({one['fitness'] for one in before}) == 12


@pytest.mark.parametrize('kept', [0, 2, 4, 9, 11, 12])
def test_goes_on_after_any_candidate(whole, part, kept):
    lines = (part / RECORD).read_bytes().splitlines(keepends=True)
    (part / RECORD).write_bytes(b''.join(lines[: kept + 1]))
    assert resume(part) == 12 - kept
    before, after = read_candidates(whole), read_candidates(part)
    assert after[:kept] == before[:kept]
    assert without_seconds(after) == without_seconds(before)
    best = [json.loads((d / 'best.json').read_text()) for d in (whole, part)]
    best = without_seconds(best)
    assert best[0] == best[1]


def test_goes_on_after_any_torn_line(whole, part):
    content = (whole / RECORD).read_bytes()
    header = content.index(b'\n') + 1
    rng = np.random.default_rng(0)
    for size in rng.integers(header, len(content), size=3).tolist():
        (part / RECORD).write_bytes(content[:size])
        kept = content[:size].count(b'\n') - 1
        assert resume(part) == 12 - kept
        assert without_seconds(read_candidates(part)) == without_seconds(
            read_candidates(whole)
        )


def test_killed_twice(whole, part):
    lines = (part / RECORD).read_bytes().splitlines(keepends=True)
    (part / RECORD).write_bytes(b''.join(lines[:3]) + lines[3][:40])
    scorer = ToyMetric(wrap=_dies_at(4))
    with pytest.raises(KeyboardInterrupt):
        toy_runner(part, scorer, resume=True).val()
    assert len(read_candidates(part)) == 5
    assert resume(part) == 12 - 5
    assert without_seconds(read_candidates(part)) == without_seconds(
        read_candidates(whole)
    )


def _dies_at(call):
    """Ctrl-C at a validation: it is no failure of the candidate."""
    calls = iter(range(1, call + 1))

    def wrap(metrics):
        if next(calls) == call:
            raise KeyboardInterrupt
        return metrics

    return wrap


def test_a_search_can_be_prolonged(whole, tmp_path):
    work_dir = tmp_path / 'longer'
    toy_runner(work_dir, generations=2).val()
    assert len(read_candidates(work_dir)) == 8
    assert resume(work_dir) == 4
    assert without_seconds(read_candidates(work_dir)) == without_seconds(
        read_candidates(whole)
    )


def test_an_existing_search_is_not_overwritten(whole):
    before = (whole / RECORD).read_bytes()
    with pytest.raises(FileExistsError, match='--resume'):
        toy_runner(whole).val()
    assert (whole / RECORD).read_bytes() == before


def test_a_search_that_scored_nobody_is_none(tmp_path):
    """After a wrong setting the right one needs no flag."""
    with pytest.raises(ValueError, match='gives no'):
        toy_runner(tmp_path, metric='no_such').val()
    assert (tmp_path / RECORD).exists()
    toy_runner(tmp_path).val()
    assert len(read_candidates(tmp_path)) == 12


def test_an_existing_search_is_overwritten_when_that_is_wanted(part):
    """Another search begins, and nothing of the old one is left."""
    (part / PENDING).write_text('of the old search')
    scorer = ToyMetric(wrap=_dies_at(1))
    with pytest.raises(KeyboardInterrupt):
        toy_runner(part, scorer, seed=1, overwrite=True).val()
    assert read_candidates(part) == []
    for name in (
        'best.json',
        'best_backbone.py',
        'search_record.pending.jsonl',
    ):
        assert not (part / name).exists()
    assert resume(part, seed=1) == 12


def test_a_running_search_is_not_overwritten(part):
    header = SearchRecord.read(part / RECORD).header
    before = (part / RECORD).read_bytes()
    with SearchRecord.open(part / RECORD, header):
        for settings in (dict(overwrite=True), dict(resume=True)):
            with pytest.raises(BlockingIOError, match='another search'):
                toy_runner(part, **settings).val()
    assert (part / RECORD).read_bytes() == before
    assert (part / 'best.json').exists()
    # Its lock does not outlive it.
    assert resume(part) == 0


def test_one_cannot_go_on_and_overwrite(part):
    with pytest.raises(ValueError, match='exclude each other'):
        resume(part, overwrite=True)


def test_what_other_processes_had_finished_is_not_evaluated_again(whole, part):
    """They search no more: one process goes on."""
    record = SearchRecord.read(part / RECORD)
    journal = Journal(part / PENDING, record.header.digest)
    for index in (6, 9):
        done = record.candidates[index]
        journal.add(
            tuple(map(int, done.path)), Evaluation(done.fitness, done.metrics)
        )
    lines = (part / RECORD).read_bytes().splitlines(keepends=True)
    (part / RECORD).write_bytes(b''.join(lines[:6]))
    assert resume(part) == 12 - 5 - 2
    assert without_seconds(read_candidates(part)) == without_seconds(
        read_candidates(whole)
    )
    assert not journal.file.exists()


def test_what_is_recorded_is_not_kept_pending(part):
    """Killed after the last candidate of a generation was recorded."""
    record = SearchRecord.read(part / RECORD)
    journal = Journal(part / PENDING, record.header.digest)
    for done in record.candidates[-2:]:
        path = tuple(map(int, done.path))
        journal.add(path, Evaluation(done.fitness, done.metrics))
    assert resume(part) == 0
    assert not journal.file.exists()


def test_nothing_to_resume_is_said(tmp_path, whole, caplog):
    logger = logging.getLogger('search')
    require_new_record(whole / RECORD, True, False, logger)
    assert caplog.text == ''
    require_new_record(tmp_path / 'typo' / RECORD, True, False, logger)
    assert f'Nothing to resume in {tmp_path / "typo"}' in caplog.text


@pytest.mark.parametrize(
    ('settings', 'named'),
    [
        (dict(seed=1), 'seed: 0 there, 1 now'),
        (dict(metric='toy/other'), 'metric: '),
        (dict(constraint=dict(max_macs=1e9)), 'constraint.max_macs: '),
        (dict(algorithm='random'), 'algorithm.type: '),
        (dict(population=5), 'algorithm.population: 4 there, 5 now'),
        (dict(lookahead=1), 'algorithm.lookahead: '),
        (dict(mutation_prob=0.2), 'algorithm.mutation_prob: '),
    ],
)
def test_another_search_is_not_gone_on_with(whole, settings, named):
    before = (whole / RECORD).read_bytes()
    with pytest.raises(ValueError, match=named) as error:
        resume(whole, **settings)
    assert 'record of another search' in str(error.value)
    assert '\n' not in str(error.value)
    assert (whole / RECORD).read_bytes() == before


def test_another_checkpoint_is_not_gone_on_with(whole, tmp_path):
    other = toy_checkpoint(tmp_path / 'other.pth', seed=5)
    with pytest.raises(ValueError, match='checkpoint_digest: '):
        resume(whole, checkpoint=other)


def test_a_checkpoint_may_move(part, tmp_path):
    moved = tmp_path / 'moved.pth'
    shutil.copy(toy_checkpoint(part.parent / 'toy.pth'), moved)
    assert resume(part, checkpoint=moved) == 0


def test_an_edited_record_is_refused(part):
    lines = (part / RECORD).read_text().splitlines(keepends=True)
    candidate = json.loads(lines[2])
    candidate['path'] = '0000' if candidate['path'] != '0000' else '1111'
    del candidate['crc32']
    lines[2] = json.dumps(candidate) + '\n'
    (part / RECORD).write_text(''.join(lines))
    with pytest.raises(ValueError, match='this search asks for'):
        resume(part)


def test_digits_search_goes_on_as_if_never_stopped(searched, base, tmp_path):
    """With the real detector: config, BN statistics and random state."""
    whole, first = searched
    record = tmp_path / RECORD
    content = (Path(whole.work_dir) / RECORD).read_bytes()
    lines = content.splitlines(keepends=True)
    record.write_bytes(b''.join(lines[:5]) + lines[5][:100])
    config = search_config(base, tmp_path)
    config.val_cfg.resume = True
    # How data are loaded and shown changes no score.
    config.val_dataloader.num_workers = 1
    config.default_hooks.logger.interval = 7
    second = run_search(config)
    assert second[:4] == first[:4]
    assert without_seconds(second) == without_seconds(first)


def test_digits_search_of_another_config_is_refused(searched, base):
    config = search_config(base, searched[0].work_dir)
    config.val_cfg.resume = True
    config.model.test_cfg.nms_pre = 100
    with pytest.raises(
        ValueError, match='config.model.test_cfg.nms_pre: '
    ) as error:
        Runner.from_cfg(config).val()
    assert '\n' not in str(error.value)


def header_difference(base, work_dir, key, value):
    """What the records of two searches say that differs."""
    first = header(base, work_dir, {})
    return first.difference(header(base, work_dir, {key: value}))


def header(base, work_dir, change):
    """What defines a search whose config is changed."""
    space = get_search_space('tiny')
    config = search_config(base, work_dir)
    config.merge_from_dict(change)
    return build_search_header(
        config,
        checkpoint=config.load_from,
        supernet=SimpleNamespace(search_space=space, shuffle=''),
        constraint=Constraint(space, Bounds()),
        algorithm={},
        metric='mAP',
        seed=0,
    )


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('model.bbox_head.stacked_convs', 1),
        ('train_dataloader.batch_size', 2),
        ('val_dataloader.dataset.indices', 4),
        ('custom_hooks.1.num_images', 4),
        ('val_evaluator.metric', ['bbox', 'proposal']),
        ('data_preprocessor', dict(mean=[1, 2, 3])),
    ],
)
def test_what_scores_depend_on_defines_a_search(base, tmp_path, key, value):
    difference = header_difference(base, tmp_path, key, value)
    assert difference.startswith(f'config.{key}')


def test_edited_annotations_make_another_search(base, tmp_path):
    """Scores from different data do not go into one record."""
    content = json.loads(
        Path(search_config(base, tmp_path).val_evaluator.ann_file).read_text()
    )
    headers = []
    for number in range(2):
        content['annotations'] = content['annotations'][number:]
        file = tmp_path / 'search.json'
        file.write_text(json.dumps(content))
        change = {'val_evaluator.ann_file': str(file)}
        headers.append(header(base, tmp_path, change))
    difference = headers[0].difference(headers[1])
    assert difference.startswith(f'config.annotations.{file}')


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('val_dataloader.num_workers', 3),
        ('log_level', 'DEBUG'),
        ('work_dir', 'elsewhere'),
        ('default_hooks.logger.interval', 1),
        ('optim_wrapper.optimizer.lr', 1.0),
    ],
)
def test_what_scores_do_not_depend_on_may_change(base, tmp_path, key, value):
    assert header_difference(base, tmp_path, key, value) is None
