"""The executor of a search, and what its workers compare."""

import os
import socket
from dataclasses import replace
from types import SimpleNamespace

import pytest
from kit.records import HEADER
from mmengine.config import Config

from detnas_mm.engine.search import executors as module
from detnas_mm.engine.search.executors import build_evaluator, build_executor
from detnas_mm.engine.search.settings import SearchSettings
from detnas_mm.executors import Serial, WrongSearchError
from detnas_mm.utils.errors import InputError


def build(info=None, **settings):
    return build_executor(
        SearchSettings(metric='mAP', **settings),
        evaluate=None,
        info=info,
        config=Config(),
        header=HEADER,
    )


def test_search_without_a_launcher_is_serial():
    assert isinstance(build(), Serial)


@pytest.mark.parametrize(
    ('executor', 'info', 'part'),
    [
        (dict(type='Cloud'), None, 'one of Serial, Launched, Ray'),
        (dict(type='Launched'), None, 'does not go with launcher'),
        (dict(type='Ray'), 'info', 'does not go with launcher'),
        (dict(type='Serial', workers=2), None, 'Serial takes no settings'),
        (dict(type='Ray', gpus=1), None, 'gpus_per_worker'),
        (dict(type='Ray', workers=0), None, '`workers`'),
    ],
)
def test_what_is_refused(executor, info, part):
    with pytest.raises(InputError) as error:
        build(info, executor=executor)
    assert part in str(error.value)


@pytest.fixture
def build_worker(monkeypatch, tmp_path):
    """Builds what evaluates in a worker whose own header is given."""
    monkeypatch.chdir(tmp_path)

    def build_worker(header, folder):
        loop = SimpleNamespace(header=header, evaluate='evaluate')
        runner = SimpleNamespace(val_loop=loop, call_hook=lambda name: None)
        configs = []
        monkeypatch.setattr(
            module.Runner,
            'from_cfg',
            lambda cfg: configs.append(cfg) or runner,
        )
        config = dict(
            work_dir='work',
            val_cfg=dict(executor=dict(type='Ray'), resume=True),
        )
        evaluate = build_evaluator(config, HEADER, str(folder))
        return evaluate, configs[0]

    return build_worker


def test_worker_has_the_folder_of_the_search(build_worker, tmp_path):
    folder = tmp_path / 'search'
    folder.mkdir()
    evaluate, config = build_worker(HEADER, folder)
    assert evaluate == 'evaluate'
    assert os.getcwd() == str(folder)
    assert config.val_cfg == dict(
        executor={}, resume=False, evaluate_only=True, launcher='none'
    )
    assert config.work_dir.startswith(f'work/workers/{socket.gethostname()}')


def test_worker_with_another_search_is_refused(build_worker, tmp_path):
    other = replace(HEADER, checkpoint_digest='c')
    with pytest.raises(WrongSearchError, match='checkpoint_digest') as error:
        build_worker(other, tmp_path)
    assert socket.gethostname() in str(error.value)
