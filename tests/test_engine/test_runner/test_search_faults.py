"""A world that is not as it should be: said in one line, nothing lost."""

import contextlib
import json

import pytest
import torch
from kit.digits_runs import (
    read_candidates,
    run_search,
    search_config,
    without_seconds,
)
from kit.disks import full_disk
from kit.models import ToyClassifier, supernet
from kit.spaces import FOUR_BLOCKS
from kit.toy_search import ToyMetric, toy_runner
from mmengine.runner import Runner

RECORD = 'search_record.jsonl'


class AfterCalls:
    """Does something at a validation; counts them from 0."""

    def __init__(self, call, action):
        self.call = call
        self.action = action

    def __call__(self, metrics):
        self.call -= 1
        if self.call == -1:
            self.action()
        return metrics


@pytest.mark.parametrize('room', [0, 50])
def test_full_disk(tmp_path, room):
    """The sixth candidate does not fit: the search ends, and goes on."""
    toy_runner(tmp_path / 'whole').val()
    whole = without_seconds(read_candidates(tmp_path / 'whole'))
    work_dir = tmp_path / 'search'
    with contextlib.ExitStack() as stack:

        def fill_disk():
            stack.enter_context(full_disk(work_dir / RECORD, room))

        scorer = ToyMetric(wrap=AfterCalls(5, fill_disk))
        with pytest.raises(OSError, match='cannot write .*--resume') as error:
            toy_runner(work_dir, scorer).val()
    assert '\n' not in str(error.value)
    assert str(work_dir / RECORD) in str(error.value)
    assert without_seconds(read_candidates(work_dir)) == whole[:5]
    scorer = ToyMetric()
    toy_runner(work_dir, scorer, resume=True).val()
    assert scorer.calls == 12 - 5
    assert without_seconds(read_candidates(work_dir)) == whole


def nan_checkpoint(file, *keys):
    """A supernet in which some weights are NaN."""
    torch.manual_seed(0)
    model = ToyClassifier(supernet(FOUR_BLOCKS, seed=0))
    state_dict = model.state_dict()
    for key in keys:
        state_dict[key].fill_(torch.nan)
    torch.save(dict(state_dict=state_dict), file)
    return file


def test_nan_weights_of_a_choice_fail_its_paths_alone(tmp_path):
    """They spoil no statistics of the others, which score as ever."""
    paths = ['0123', '0213', '1023', '2213', '0000']
    given = dict(algorithm='given', paths=paths)
    fine = nan_checkpoint(tmp_path / 'fine.pth')
    toy_runner(tmp_path / 'fine', checkpoint=fine, **given).val()
    key = 'backbone.blocks.1.2.main.0.weight'
    spoilt = nan_checkpoint(tmp_path / 'nan.pth', key)
    toy_runner(tmp_path / 'nan', checkpoint=spoilt, **given).val()
    expected = read_candidates(tmp_path / 'fine')
    candidates = read_candidates(tmp_path / 'nan')
    for path, one, fine in zip(paths, candidates, expected, strict=True):
        if path[1] == '2':
            assert one['status'] == 'failed'
            assert one['error'] == (
                'ValueError: loss is nan on the images of the BN statistics'
            )
        else:
            assert one['fitness'] == fine['fitness']


def test_search_of_a_diverged_supernet_ends(tmp_path):
    spoilt = nan_checkpoint(tmp_path / 'nan.pth', 'backbone.stem.0.weight')
    with pytest.raises(RuntimeError, match='10 candidates in a row') as error:
        toy_runner(tmp_path / 'search', checkpoint=spoilt).val()
    assert 'loss is nan' in str(error.value)
    assert '\n' not in str(error.value)


@pytest.fixture
def own_digits(base, tmp_path):
    """The config of a digits search whose search split may be damaged."""
    config = search_config(base, tmp_path / 'search')
    root = tmp_path / 'digits'
    root.mkdir()
    folder = base / 'digits'
    for part in folder.iterdir():
        if part.name not in ('search', 'annotations'):
            (root / part.name).symlink_to(part)
    for name in ('search', 'annotations'):
        (root / name).mkdir()
        for file in (folder / name).iterdir():
            (root / name / file.name).write_bytes(file.read_bytes())
    for split in ('train', 'val'):
        config[f'{split}_dataloader'].dataset.data_root = f'{root}/'
    file = root / 'annotations' / 'instances_search.json'
    config.val_evaluator.ann_file = str(file)
    config.val_cfg.update(max_failures=2)
    return config, root, file


def test_unreadable_image_of_the_search_split(own_digits):
    """It is named; what was evaluated before is kept."""
    config, root, _ = own_digits
    whole = run_search(config)
    record = root.parent / 'search' / RECORD
    lines = record.read_bytes().splitlines(keepends=True)
    record.write_bytes(b''.join(lines[:3]))
    image = sorted((root / 'search').iterdir())[3]
    content = image.read_bytes()
    image.write_bytes(b'no image')
    config.val_cfg.resume = True
    config.experiment_name += '_damaged'
    with pytest.raises(RuntimeError, match='2 candidates in a row') as error:
        Runner.from_cfg(config).val()
    assert image.name in str(error.value)
    assert '\n' not in str(error.value)
    assert len(read_candidates(root.parent / 'search')) == 4
    image.write_bytes(content)
    config.experiment_name += '_mended'
    assert without_seconds(run_search(config)) == without_seconds(whole)


@pytest.mark.parametrize(
    ('split', 'loader'),
    [('search', 'val_dataloader'), ('train', 'train_dataloader')],
)
def test_empty_split_is_refused(own_digits, split, loader):
    config, root, file = own_digits
    file = file.with_name(f'instances_{split}.json')
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | dict(images=[], annotations=[])))
    with pytest.raises(ValueError, match=f'{loader}` is empty') as error:
        Runner.from_cfg(config).val()
    assert '\n' not in str(error.value)
    assert not (root.parent / 'search' / RECORD).exists()


def test_empty_search_split_of_another_kind_is_refused(tmp_path):
    """A data set that is empty without stumbling over it."""
    runner = toy_runner(tmp_path / 'search')
    runner._val_dataloader['dataset']['size'] = 0
    runner._val_dataloader['sampler'] = dict(type='DefaultSampler')
    with pytest.raises(ValueError, match='val_dataloader` is empty'):
        runner.val()


def test_search_split_without_objects_scores_nobody(own_digits):
    config, _, file = own_digits
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | dict(annotations=[])))
    with pytest.raises(RuntimeError, match='no such object'):
        Runner.from_cfg(config).val()
