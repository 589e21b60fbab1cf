"""train.py and test.py: a wrong input is refused in one line."""

import subprocess

import pytest
import torch
from kit.command_lines import (
    RECALIBRATION,
    TRAINING,
    config_file,
    loading_options,
    run_here,
)
from kit.digits_runs import ROOT
from mmengine.config import Config

from detnas_mm.models import build_model

SUPERNET = config_file('retinanet_detnas-supernet-tiny_fpn_digits')
SEARCH = config_file('retinanet_detnas-search-tiny_fpn_digits')
FINAL = config_file('retinanet_detnas-tiny_fpn_digits')
PATH = ["model.backbone.path='0000000000'", 'model.backbone.init_cfg=None']


@pytest.fixture
def error_line(capsys, tmp_path):
    """Runs a command that fails; returns its one line."""

    def fail(tool, *args, options=()):
        capsys.readouterr()
        options = ['--cfg-options', *options] if options else []
        with pytest.raises(SystemExit) as caught:
            run_here(tool, '--work-dir', tmp_path, *args, *options)
        assert caught.value.code == 2
        (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
        assert line.startswith('error: ')
        return line

    return fail


def test_path_of_too_few_digits(error_line):
    """As a number it would be as good as one with zeros before it."""
    for text in ('012', '212', "'012'"):
        options = [f'model.backbone.path={text}', PATH[1]]
        line = error_line('train.py', FINAL, options=options)
        assert 'has 10 digits' in line
        digits = text.strip("'")
        assert f"got 3: '{digits}'" in line


def test_missing_data_name_their_converter(error_line):
    missing = ['train_dataloader.dataset.data_root=/nowhere/digits']
    line = error_line('train.py', FINAL, options=[*PATH, *missing])
    assert '/nowhere/digits/annotations/instances_train.json' in line
    assert 'tools/dataset_converters/digits.py' in line


def test_search_config_is_not_trained(error_line):
    assert 'tools/search.py' in error_line('train.py', SEARCH)
    assert 'tools/search.py' in error_line('test.py', SEARCH, 'x.pth')


@pytest.mark.parametrize(
    ('tool', 'args'),
    [('train.py', ['--resume', 'nope.pth']), ('test.py', ['nope.pth'])],
)
def test_checkpoint_that_is_none(error_line, tool, args):
    assert 'no checkpoint at nope.pth' in error_line(tool, FINAL, *args)


def test_launcher_without_its_processes(error_line, monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    line = error_line('train.py', FINAL, '--launcher', 'pytorch')
    assert 'tools/dist_train.sh' in line


def test_checkpoint_of_another_model(error_line, digits, supernet):
    options = [*loading_options(digits, 'train', 'val', 'test'), *PATH]
    line = error_line('test.py', FINAL, supernet, options=options)
    assert 'does not fit' in line


def test_supernet_has_no_score(error_line, digits, supernet):
    options = loading_options(digits, 'train', 'val', 'test')
    options.append('model.backbone.init_cfg=None')
    line = error_line('test.py', SUPERNET, supernet, options=options)
    assert 'tools/search.py' in line


def test_too_few_training_images_for_the_bn_statistics(error_line, digits):
    options = [*loading_options(digits, 'train', 'val', 'test'), *TRAINING]
    options += ['model.backbone.init_cfg=None']
    options += [option.replace('=8', '=99') for option in RECALIBRATION]
    line = error_line('train.py', SUPERNET, options=options)
    assert '`num_images` of BNRecalibrationHook' in line
    assert 'got 99' in line


@pytest.mark.parametrize('what', ['train', 'test', 'search'])
@pytest.mark.parametrize('how', ['dist', 'slurm'])
def test_scripts_say_how_they_are_used(how, what):
    script = ROOT / 'tools' / f'{how}_{what}.sh'
    done = subprocess.run(['bash', script], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith('Usage: ')


def test_predictions_that_are_no_pickle(error_line):
    """Said before even the config is read."""
    line = error_line('test.py', 'nope.py', 'nope.pth', '--out', 'x.txt')
    assert "must be a .pkl or .pickle file, got 'x.txt'" in line


def test_predictions_that_cannot_be_written(error_line, digits, tmp_path):
    config = Config.fromfile(FINAL)
    config.model.backbone.update(path='0' * 10, init_cfg=None)
    weights = tmp_path / 'net.pth'
    torch.save(dict(state_dict=build_model(config).state_dict()), weights)
    (tmp_path / 'file').write_text('')
    out = tmp_path / 'file' / 'x.pkl'
    options = [*PATH, *loading_options(digits, 'test')]
    line = error_line('test.py', FINAL, weights, '--out', out, options=options)
    assert line.endswith('use another --out')


def test_work_dir_that_is_a_file(error_line, digits, supernet, tmp_path):
    file = tmp_path / 'file'
    file.write_text('')
    options = [*loading_options(digits, 'train', 'val', 'test'), *PATH]
    line = error_line('train.py', FINAL, '--work-dir', file, options=options)
    assert f'cannot write to {file}' in line
    config = Config.fromfile(FINAL)
    config.merge_from_dict({'model.backbone.path': '0' * 10})
    model = build_model(config)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'net.pth')
    line = error_line(
        'test.py', FINAL, tmp_path / 'net.pth', '--work-dir', file,
        options=options,
    )  # fmt: skip
    assert f'cannot write to {file}' in line
