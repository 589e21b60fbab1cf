"""A search that was stopped resumes where it was."""

import json
import shutil
from pathlib import Path

import pytest
from kit.digits_runs import (
    read_candidates,
    run_search,
    search_config,
    without_seconds,
)
from kit.toy_search import ToyMetric, toy_checkpoint, toy_runner
from mmengine.runner import Runner

from detnas_mm.structures import RECORD, SearchRecord
from detnas_mm.utils.errors import InputError

LOOKAHEAD = dict(lookahead=1, executor=dict(type='AnyOrder', order=5))


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """The work dir of an undisturbed toy search."""
    work_dir = tmp_path_factory.mktemp('toy') / 'whole'
    toy_runner(work_dir).val()
    return work_dir


@pytest.fixture
def part(whole):
    """A copy of that work dir, to be changed."""
    work_dir = whole.parent / 'part'
    shutil.copytree(whole, work_dir)
    yield work_dir
    shutil.rmtree(work_dir)


def candidates_of(work_dir):
    return without_seconds(read_candidates(work_dir))


def resume(work_dir, **settings):
    """Resumes a toy search; returns the number of validations."""
    scorer = ToyMetric()
    toy_runner(work_dir, scorer, resume=True, **settings).val()
    return scorer.calls


def cut(work_dir, kept, torn=0):
    """Keeps some candidates of a record, and bytes of the next."""
    lines = (work_dir / RECORD).read_bytes().splitlines(keepends=True)
    content = b''.join(lines[: kept + 1])
    content += b''.join(lines[kept + 1 :])[:torn]
    (work_dir / RECORD).write_bytes(content)


@pytest.mark.parametrize(
    ('kept', 'torn'), [(0, 0), (2, 50), (4, 0), (11, 1), (12, 0)]
)
def test_resumes_after_any_candidate(whole, part, kept, torn):
    before = read_candidates(part)
    cut(part, kept, torn)
    assert resume(part) == 12 - kept
    # Those that were recorded stay as they are.
    assert read_candidates(part)[:kept] == before[:kept]
    assert candidates_of(part) == candidates_of(whole)
    best = [json.loads((d / 'best.json').read_text()) for d in (whole, part)]
    first, second = without_seconds(best)
    assert first == second


def test_resumes_with_lookahead_and_results_in_any_order(whole, tmp_path):
    """Lines are in the order of finishing: any subset may be there."""
    checkpoint = whole.parent / 'toy.pth'
    undisturbed = tmp_path / 'undisturbed'
    toy_runner(undisturbed, checkpoint=checkpoint, **LOOKAHEAD).val()
    indices = [
        c.index for c in SearchRecord.read(undisturbed / RECORD).finished
    ]
    assert indices != sorted(indices)
    for kept in (2, 6):
        work_dir = tmp_path / str(kept)
        work_dir.mkdir()
        shutil.copy(undisturbed / RECORD, work_dir)
        cut(work_dir, kept, torn=20)
        calls = resume(work_dir, checkpoint=checkpoint, **LOOKAHEAD)
        assert calls == 12 - kept
        assert candidates_of(work_dir) == candidates_of(undisturbed)


def test_longer_search_continues_a_shorter_one(whole, tmp_path):
    work_dir = tmp_path / 'longer'
    checkpoint = whole.parent / 'toy.pth'
    toy_runner(work_dir, generations=2, checkpoint=checkpoint).val()
    assert len(read_candidates(work_dir)) == 8
    assert resume(work_dir, checkpoint=checkpoint) == 4
    assert candidates_of(work_dir) == candidates_of(whole)


def test_existing_search_is_not_overwritten(whole):
    before = (whole / RECORD).read_bytes()
    with pytest.raises(InputError, match='--resume'):
        toy_runner(whole).val()
    assert (whole / RECORD).read_bytes() == before


def test_overwrite_removes_the_old_search(part):
    scorer = ToyMetric(wrap=_interrupt)
    with pytest.raises(KeyboardInterrupt):
        toy_runner(part, scorer, seed=1, overwrite=True).val()
    assert read_candidates(part) == []
    assert not (part / 'best.json').exists()
    assert not (part / 'best_backbone.py').exists()
    assert resume(part, seed=1) == 12


def _interrupt(metrics):
    raise KeyboardInterrupt


def test_second_search_on_a_work_dir_is_refused(part):
    header = SearchRecord.read(part / RECORD).header
    before = (part / RECORD).read_bytes()
    with SearchRecord.open(part / RECORD, header):
        for settings in (dict(overwrite=True), dict(resume=True)):
            with pytest.raises(InputError, match='another search is writing'):
                toy_runner(part, **settings).val()
    assert (part / RECORD).read_bytes() == before
    assert (part / 'best.json').exists()
    # The lock is released with the record.
    assert resume(part) == 0


def test_warns_if_there_is_nothing_to_resume(tmp_path, capfd):
    toy_runner(tmp_path / 'typo', resume=True, generations=1).val()
    assert 'Nothing to resume' in capfd.readouterr().out


@pytest.mark.parametrize(
    ('settings', 'named'),
    [
        (dict(seed=1), 'seed: 0 there, 1 now'),
        (dict(metric='toy/other'), 'metric: '),
        (dict(constraint=dict(max_macs=1e9)), 'constraint.max_macs: '),
        (
            dict(algorithm=dict(type='RandomSearch', population=4)),
            "algorithm.type: 'Evolution' there, 'RandomSearch' now",
        ),
        (
            dict(algorithm=dict(type='Evolution', population=5, parents=2)),
            'algorithm.population: 4 there, 5 now',
        ),
        (dict(lookahead=1), 'algorithm.lookahead: '),
        (dict(fp16=True), 'config.fp16: '),
    ],
)
def test_another_search_is_not_resumed(whole, settings, named):
    before = (whole / RECORD).read_bytes()
    with pytest.raises(InputError, match=named) as error:
        resume(whole, **settings)
    assert 'record of another search' in str(error.value)
    assert '\n' not in str(error.value)
    assert (whole / RECORD).read_bytes() == before


def test_checkpoint_may_move_but_not_change(part, tmp_path):
    other = toy_checkpoint(tmp_path / 'other.pth', seed=5)
    with pytest.raises(InputError, match='checkpoint_digest: '):
        resume(part, checkpoint=other)
    moved = tmp_path / 'moved.pth'
    shutil.copy(toy_checkpoint(part.parent / 'toy.pth'), moved)
    assert resume(part, checkpoint=moved) == 0


def test_edited_record_is_refused(part):
    lines = (part / RECORD).read_text().splitlines(keepends=True)
    candidate = json.loads(lines[2])
    candidate['path'] = '0000' if candidate['path'] != '0000' else '1111'
    lines[2] = json.dumps(candidate) + '\n'
    (part / RECORD).write_text(''.join(lines))
    with pytest.raises(InputError, match='this search asks for'):
        resume(part)


def test_digits_search_resumes_as_if_never_stopped(searched, base, tmp_path):
    """With the real detector: config, BN statistics and random state."""
    whole, first = searched
    shutil.copy(Path(whole.work_dir) / RECORD, tmp_path)
    cut(tmp_path, 4, torn=100)
    config = search_config(base, tmp_path)
    config.val_cfg.resume = True
    # How data are loaded and shown changes no score.
    config.val_dataloader.num_workers = 1
    config.default_hooks.logger.interval = 7
    second = run_search(config)
    assert second[:4] == first[:4]
    assert without_seconds(second) == without_seconds(first)
    config = search_config(base, tmp_path)
    config.val_cfg.resume = True
    config.model.test_cfg.nms_pre = 100
    with pytest.raises(InputError, match='config.model.test_cfg.nms_pre: '):
        Runner.from_cfg(config).val()


def test_order_of_results_does_not_change_the_candidates(whole, tmp_path):
    """Also with lookahead, where later generations finish earlier."""
    checkpoint = whole.parent / 'toy.pth'
    expected = {0: candidates_of(whole)}
    for lookahead in (1, 2):
        work_dir = tmp_path / f'serial{lookahead}'
        toy_runner(work_dir, checkpoint=checkpoint, lookahead=lookahead).val()
        expected[lookahead] = candidates_of(work_dir)
        # Parents are that many generations older.
        first = expected[lookahead][: 4 * (1 + lookahead)]
        assert {c['origin'] for c in first} == {'random'}
    for lookahead, candidates in expected.items():
        work_dir = tmp_path / str(lookahead)
        toy_runner(
            work_dir,
            checkpoint=checkpoint,
            lookahead=lookahead,
            executor=dict(type='AnyOrder', order=lookahead),
        ).val()
        assert candidates_of(work_dir) == candidates
