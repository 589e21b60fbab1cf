"""Arguments, config and errors of the command lines."""

import argparse
import errno
import sys

import pytest
from mmengine.config import Config

from detnas_mm.utils.cli import (
    add_common_arguments,
    is_search,
    load_config,
    refuse_search_config,
    run_command,
)
from detnas_mm.utils.errors import InputError

SEARCH = 'detnas_mm.EvolutionSearchLoop'


@pytest.fixture
def load(tmp_path):
    """Load a config of one line with command-line arguments."""

    def load(text, *args):
        file = tmp_path / 'small_net.py'
        file.write_text(text)
        return load_file(file, *args)

    return load


def load_file(*args):
    parser = argparse.ArgumentParser()
    parser.add_argument('config')
    add_common_arguments(parser)
    return load_config(parser.parse_args(list(map(str, args))))


def test_options_change_the_config_as_mmengine_does(load):
    config = load(
        'model = dict(a=1, b=[1, 2])',
        *('--launcher', 'mpi', '--cfg-options'),
        *('model.a=2', 'model.b=[3,4]', 'model.c.d=x', 'new_key=1.5'),
    )
    assert config.model == dict(a=2, b=[3, 4], c=dict(d='x'))
    assert (config.new_key, config.launcher) == (1.5, 'mpi')


def test_paths_are_text(load):
    for text in ('0012', "'0012'", '"0012"'):
        options = ['--cfg-options', f'model.backbone.path={text}', 'seed=0012']
        config = load('model = dict(backbone=dict())', *options)
        assert config.model.backbone.path == '0012'
        assert config.seed != '0012'


def test_wrong_options_are_refused(load, capsys):
    for options, message in (
        (('--cfg-options', 'seed'), "takes key=value, got 'seed'"),
        (('--launcher', 'horovod'), "invalid choice: 'horovod'"),
    ):
        with pytest.raises(SystemExit) as error:
            load('seed = 0', *options)
        assert error.value.code == 2
        assert message in capsys.readouterr().err
    with pytest.raises(InputError, match='no config file at none.py'):
        load_file('none.py')


def test_modules_that_an_option_imports_are_imported(
    load, tmp_path, monkeypatch
):
    (tmp_path / 'own_module.py').touch()
    monkeypatch.syspath_prepend(tmp_path)
    load('seed = 0', '--cfg-options', 'custom_imports.imports=own_module')
    assert sys.modules.pop('own_module')


def test_work_dir_of_the_command_line_comes_first(load):
    own = "work_dir = 'own'"
    assert load(own, '--work-dir', 'given').work_dir == 'given'
    assert load(own).work_dir == 'own'
    assert load('seed = 0').work_dir == 'work_dirs/small_net'


def test_search_is_recognized_and_refused():
    class EvolutionSearchLoop:
        pass

    for kind in (SEARCH, 'EvolutionSearchLoop', EvolutionSearchLoop):
        assert is_search(dict(type=kind))
    for loop in (None, {}, dict(type='ValLoop')):
        assert not is_search(loop)
        refuse_search_config(Config(dict(val_cfg=loop)))
    for name in ('val_cfg', 'test_cfg'):
        with pytest.raises(InputError, match=f'`{name}`.*tools/search.py'):
            refuse_search_config(Config({name: dict(type=SEARCH)}))


def raises(error):
    def command():
        raise error

    return command


def test_expected_errors_end_a_command_with_one_line(capsys):
    disk = OSError(errno.ENOSPC, 'No space left on device', 'a.pth')
    for error, code, line in (
        (InputError('`seed` is -1'), 2, 'error: `seed` is -1'),
        (disk, 2, 'error: a.pth: No space left on device'),
        (OSError(errno.EDQUOT, 'Quota exceeded'), 2, 'error: Quota exceeded'),
        (KeyboardInterrupt(), 130, 'interrupted'),
    ):
        with pytest.raises(SystemExit) as caught:
            run_command(raises(error))
        assert caught.value.code == code
        assert capsys.readouterr() == ('', f'{line}\n')


def test_every_other_error_keeps_its_traceback():
    for error in (ValueError('a bug'), FileNotFoundError(2, 'a'), KeyError()):
        with pytest.raises(type(error)) as caught:
            run_command(raises(error))
        assert caught.value is error
