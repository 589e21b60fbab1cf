"""The study that trains nets and compares them with their scores."""

import importlib.util
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from kit.command_lines import run_here
from kit.digits_runs import ROOT
from kit.records import candidate, header

from detnas_mm.cost import backbone_macs
from detnas_mm.structures import SEARCH_SPACES, SearchRecord

TOOL = ROOT / 'benchmarks' / 'rank_study.py'
TINY = SEARCH_SPACES['tiny']
ONE_EPOCH = (
    'train_cfg.max_epochs=1',
    'train_cfg.val_interval=1',
    'train_dataloader.batch_size=4',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
)


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('rank_study', TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules['rank_study'] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    yield module
    del sys.modules['rank_study']


class FakeTools:
    """Writes the results of the tools and remembers the commands."""

    def __init__(self):
        self.commands = []

    def __call__(self, command, log):
        tool = Path(command[1]).name
        self.commands.append((tool, command[2:]))
        work_dir = Path(command[command.index('--work-dir') + 1])
        work_dir.mkdir(parents=True)
        if tool == 'train.py':
            (work_dir / 'epoch_1.pth').touch()
            (work_dir / 'epoch_2.pth').touch()
        elif tool == 'test.py':
            (work_dir / 'log').mkdir()
            path = work_dir.name.removeprefix('test_')
            result = {'coco/bbox_mAP': int(path) / 1e10}
            (work_dir / 'log' / 'log.json').write_text(json.dumps(result))
        else:
            write_record(work_dir, paths_of(command))

    def of(self, tool):
        return [command for name, command in self.commands if name == tool]


def paths_of(command):
    start = command.index('--paths') + 1
    return command[start : command.index('--work-dir')]


def write_record(work_dir, paths):
    file = work_dir / 'search_record.jsonl'
    first = header(search_space=TINY.to_dict())
    with SearchRecord.open(file, first) as record:
        for index, path in enumerate(paths):
            macs = backbone_macs(TINY, TINY.parse(path))
            record.append(
                candidate(index, path=path, fitness=index, macs=macs)
            )


@pytest.fixture
def study(tool, tmp_path):
    def make():
        fake = FakeTools()
        return tool.Study(tmp_path, 'retinanet', ['c=1'], ['d=1'], fake), fake

    return make


def test_each_net_is_trained_from_nothing_and_tested(tool, study, tmp_path):
    toy, fake = study()
    paths = ['0000000000', '0120312012']
    scores, tests = tool.run_study(toy, Path('supernet.pth'), paths, jobs=2)
    assert list(scores) == ['recalibrated', 'running statistics']
    assert tests == {path: tmp_path / f'test_{path}' for path in paths}
    for path in paths:
        own = [
            command for command in fake.of('train.py')
            if f"model.backbone.path='{path}'" in command
        ]  # fmt: skip
        assert [Path(command[0]).name for command in own] == [
            'detnas-tiny_digits-cls.py',
            'retinanet_detnas-tiny_fpn_digits.py',
        ]
        weights = tmp_path / f'pretrained_{path}' / 'epoch_2.pth'
        assert f'model.backbone.init_cfg.checkpoint={weights}' in own[1]
    for command in fake.of('test.py'):
        assert command[1].endswith('epoch_2.pth')
    # The scores with and without recalibration, by the second hook.
    recalibrated, running = fake.of('search.py')
    for command in (recalibrated, running):
        assert command[1] == 'supernet.pth'
        assert paths_of(command) == paths
    assert not any('num_images' in text for text in recalibrated)
    assert 'custom_hooks.1.num_images=0' in running
    for _, command in fake.commands:
        setting = 'c=1' if 'digits-cls' in command[0] else 'd=1'
        assert setting in command


def test_only_missing_steps_are_run(tool, study):
    paths = ['0000000000', '1111111111', '2222222222']
    tool.run_study(study()[0], Path('supernet.pth'), paths[:2], jobs=1)
    toy, fake = study()
    tool.run_study(toy, Path('supernet.pth'), paths[:2], jobs=1)
    assert not fake.commands
    # More nets: the new one is trained, and all are scored again.
    tool.run_study(toy, Path('supernet.pth'), paths, jobs=1)
    assert len(fake.commands) == 2 + 3


def test_nets_are_drawn_under_the_bound(tool):
    few = tool.draw_paths(TINY, 6, 41e6, seed=0)
    many = tool.draw_paths(TINY, 20, 41e6, seed=0)
    assert many[:6] == few
    assert len(set(many)) == 20
    assert all(backbone_macs(TINY, TINY.parse(p)) <= 41e6 for p in many)
    assert tool.draw_paths(TINY, 6, 41e6, seed=1) != few


@pytest.mark.slow
def test_miniature_study(digits, supernet, tmp_path, monkeypatch, capfd):
    """Three nets of one epoch, by the real tools; a minute of two cores."""
    (tmp_path / 'data').mkdir()
    shutil.copytree(digits, tmp_path / 'data' / 'digits')
    monkeypatch.chdir(tmp_path)
    results = run_here(
        TOOL, '--checkpoint', supernet, '--nets', 3, '--top-k', 1,
        '--bn-images', 8, '--classifier-options', *ONE_EPOCH,
        '--detector-options', *ONE_EPOCH, 'model.test_cfg.score_thr=0.0',
    )  # fmt: skip
    assert len(re.findall(r'^[0-3]{10}: 0.\d{3}$', results, re.M)) == 3
    assert 'Ranking of 3 trained networks' in capfd.readouterr().out
    ranks = json.loads(Path('work_dirs/rank_study/ranks.json').read_text())
    (net, *_) = ranks['networks'].values()
    assert net['recalibrated'] != net['running statistics']
