"""Fixtures of the tests that run the examples of the documentation."""

import pytest
from kit import digits_runs


@pytest.fixture(scope='session', autouse=True)
def one_thread():
    digits_runs.use_one_thread()


@pytest.fixture(scope='session')
def digits(tmp_path_factory):
    return digits_runs.digits_folder(tmp_path_factory.getbasetemp())
