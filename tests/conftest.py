"""Settings and fixtures of all tests; the kit is importable as ``kit``."""

import logging
import os
from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from kit import digits_runs

# Not every machine is fast, and a failing build must fail again.
settings.register_profile(
    'detnas',
    deadline=None,
    max_examples=20,
    derandomize=True,
    # Explaining a failure traces every line, which takes minutes in torch.
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
settings.load_profile('detnas')
# Loggers of earlier tests have the standard error of those, which is closed.
logging.raiseExceptions = False


def pytest_addoption(parser):
    """How often the slow test kills a search."""
    parser.addoption('--kills', type=int, default=20)


@pytest.fixture(scope='session', autouse=True)
def one_thread():
    digits_runs.use_one_thread()


@pytest.fixture(scope='session')
def base(tmp_path_factory):
    """Folder of what the session's tests share."""
    return tmp_path_factory.getbasetemp()


@pytest.fixture(scope='session')
def digits(base):
    """The embedded data, a few images of it."""
    return digits_runs.digits_folder(base)


@pytest.fixture(scope='session')
def supernet(base):
    """Checkpoint of a supernet on these."""
    return digits_runs.supernet_checkpoint(base)


@pytest.fixture(scope='session')
def searched(base, tmp_path_factory):
    """A search of 2 generations of 3 paths: its config and candidates."""
    config = digits_runs.search_config(base, tmp_path_factory.mktemp('search'))
    return config, digits_runs.run_search(deepcopy(config))


@pytest.fixture(scope='session')
def ray():
    """Ray, whose workers can import the kit."""
    module = pytest.importorskip('ray')
    from detnas_mm.executors.ray_cluster import ENVIRONMENT

    with pytest.MonkeyPatch.context() as patch:
        tests = str(Path(__file__).parent)
        patch.setenv('PYTHONPATH', tests, prepend=os.pathsep)
        # Its processes start in time, whatever other tests run beside them.
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield module


@pytest.fixture(scope='module')
def ray_cluster(ray):
    """A cluster on this machine, for all tests of a module."""
    from kit.ray_clusters import start, starts_a_worker

    start(ray)
    if not starts_a_worker(ray):
        ray.shutdown()
        pytest.skip('Ray starts no process here in time')
    yield ray
    ray.shutdown()
