"""Fixtures of the tests of the configs."""

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
