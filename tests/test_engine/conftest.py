"""Fixtures of the tests that run the real configs."""

from copy import deepcopy

import pytest
from kit import digits_runs


@pytest.fixture(scope='session', autouse=True)
def one_thread():
    digits_runs.use_one_thread()


@pytest.fixture(scope='session')
def base(tmp_path_factory):
    """Folder of what the session's tests share."""
    return tmp_path_factory.getbasetemp()


@pytest.fixture(scope='session')
def digits(base):
    return digits_runs.digits_folder(base)


@pytest.fixture(scope='session')
def supernet(base):
    return digits_runs.supernet_checkpoint(base)


@pytest.fixture(scope='session')
def searched(base, tmp_path_factory):
    """A search of 2 generations of 3 paths: its config and candidates."""
    config = digits_runs.search_config(base, tmp_path_factory.mktemp('search'))
    return config, digits_runs.run_search(deepcopy(config))
