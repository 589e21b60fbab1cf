"""Commands refuse a wrong input in one line.

The checks have unit tests; here is what the tools themselves refuse, and one
input of each kind that goes through a whole command.
"""

import subprocess

import pytest
import torch
from kit.command_lines import (
    RECALIBRATION,
    TRAINING,
    config_file,
    loading_options,
)
from kit.digits_runs import ROOT
from mmengine.config import Config

from detnas_mm.models import build_model

SUPERNET = config_file('retinanet_detnas-supernet-tiny_fpn_digits')
SEARCH = config_file('retinanet_detnas-search-tiny_fpn_digits')
FINAL = config_file('retinanet_detnas-tiny_fpn_digits')
NO_WEIGHTS = 'model.backbone.init_cfg=None'
PATH = ["model.backbone.path='0000000000'", NO_WEIGHTS]


@pytest.fixture
def error_line(refusal, tmp_path):
    def fail(tool, *args, options=()):
        options = ['--cfg-options', *options] if options else []
        return refusal(tool, '--work-dir', tmp_path, *args, *options)

    return fail


@pytest.fixture
def options(digits):
    return loading_options(digits, 'train', 'val', 'test')


@pytest.fixture
def net(tmp_path):
    """The checkpoint of a detector with random weights."""
    config = Config.fromfile(FINAL)
    config.model.backbone.update(path='0' * 10, init_cfg=None)
    file = tmp_path / 'net.pth'
    torch.save(dict(state_dict=build_model(config).state_dict()), file)
    return file


def test_path_of_too_few_digits(error_line, options):
    """As a number it would equal one with leading zeros."""
    for text in ('012', '212', "'012'"):
        path = [f'model.backbone.path={text}', NO_WEIGHTS]
        line = error_line('train.py', FINAL, options=[*options, *path])
        digits = text.strip("'")
        assert 'has 10 digits' in line
        assert f"got 3: '{digits}'" in line


def test_missing_files(error_line, monkeypatch):
    missing = ['train_dataloader.dataset.data_root=/nowhere/digits']
    line = error_line('train.py', FINAL, options=[*PATH, *missing])
    assert '/nowhere/digits/annotations/instances_train.json' in line
    assert 'tools/dataset_converters/digits.py' in line
    for tool, *args in (
        ('train.py', '--resume', 'nope.pth'),
        ('test.py', 'nope.pth'),
    ):
        assert 'no checkpoint at nope.pth' in error_line(tool, FINAL, *args)
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    line = error_line('train.py', FINAL, '--launcher', 'pytorch')
    assert 'tools/dist_train.sh' in line


def test_config_or_checkpoint_of_another_stage(error_line, options, supernet):
    assert 'tools/search.py' in error_line('train.py', SEARCH)
    assert 'tools/search.py' in error_line('test.py', SEARCH, 'x.pth')
    line = error_line('test.py', FINAL, supernet, options=[*options, *PATH])
    assert 'does not fit' in line
    line = error_line(
        'test.py', SUPERNET, supernet, options=[*options, NO_WEIGHTS]
    )
    assert 'tools/search.py' in line


def test_too_few_training_images_for_the_bn_statistics(error_line, options):
    options = [*options, *TRAINING, NO_WEIGHTS]
    options += [option.replace('=8', '=99') for option in RECALIBRATION]
    line = error_line('train.py', SUPERNET, options=options)
    assert '`num_images` of BNRecalibrationHook' in line
    assert 'got 99' in line


def test_scripts_print_their_usage():
    for how in ('dist', 'slurm'):
        for what in ('train', 'test', 'search'):
            script = ROOT / 'tools' / f'{how}_{what}.sh'
            done = subprocess.run(
                ['bash', script], capture_output=True, text=True
            )
            assert done.returncode == 2, script
            assert done.stderr.startswith('Usage: '), script


def test_outputs_that_cannot_be_written(error_line, options, net, tmp_path):
    # Refused before the config is read.
    line = error_line('test.py', 'nope.py', 'nope.pth', '--out', 'x.txt')
    assert "must be a .pkl or .pickle file, got 'x.txt'" in line
    file = tmp_path / 'file'
    file.write_text('')
    options = [*options, *PATH]
    out = ['--out', file / 'x.pkl']
    line = error_line('test.py', FINAL, net, *out, options=options)
    assert line.endswith('use another --out')
    for tool, *args in (('train.py',), ('test.py', net)):
        args += ['--work-dir', file]
        line = error_line(tool, FINAL, *args, options=options)
        assert f'cannot write to {file}' in line
