"""What a worker of Ray compares before it evaluates."""

import os
import socket
from dataclasses import replace
from types import SimpleNamespace

import pytest

from detnas_mm.engine.search import executors as module
from detnas_mm.executors.errors import WrongSearchError
from detnas_mm.structures import SearchHeader

HEADER = SearchHeader(
    config='',
    config_digest='a',
    checkpoint='supernet.pth',
    checkpoint_digest='b',
    search_space={},
    constraint={},
    algorithm={},
    metric='score',
    seed=0,
)


@pytest.fixture
def build(monkeypatch, tmp_path):
    """Builds a worker whose own header is given."""
    monkeypatch.chdir(tmp_path)

    def build_worker(header, folder):
        loop = SimpleNamespace(
            header=lambda: header, local_evaluator=lambda: 'evaluator'
        )
        monkeypatch.setattr(module, '_worker_loop', lambda config: loop)
        return module.build_worker({}, HEADER, str(folder))

    return build_worker


def test_a_worker_goes_to_the_folder_of_the_search(build, tmp_path):
    folder = tmp_path / 'search'
    with pytest.raises(RuntimeError) as error:
        build(HEADER, folder)
    assert f'on {socket.gethostname()} in {folder}: ' in str(error.value)
    folder.mkdir()
    assert build(HEADER, folder) == 'evaluator'
    assert os.getcwd() == str(folder)


def test_a_worker_with_another_search_is_refused(build, tmp_path):
    other = replace(HEADER, checkpoint_digest='c')
    with pytest.raises(WrongSearchError, match='checkpoint_digest') as error:
        build(other, tmp_path)
    assert socket.gethostname() in str(error.value)
