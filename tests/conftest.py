"""Settings and fixtures of all tests; the kit is importable as ``kit``."""

import logging
import os
import signal
from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from kit import digits_runs
from kit.command_lines import run_here

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
# Loggers of earlier tests keep a stderr that is closed.
logging.raiseExceptions = False


def pytest_addoption(parser):
    """Adds the number of kills of the slow tests."""
    parser.addoption('--kills', type=int, default=20)


# The slowest first, so that short files fill the end of a run of two workers.
FOLDERS = [
    *('test_tools', 'test_runner', 'test_configs', 'test_benchmarks'),
    *('test_executors', 'test_visualization', 'test_docs', 'tests'),
]


def pytest_configure(config):
    """Lets pytest-xdist keep the order."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    """Sorts the tests by folder."""

    def rank(item):
        name = item.path.parent.name
        return FOLDERS.index(name) if name in FOLDERS else len(FOLDERS)

    items.sort(key=rank)


@pytest.fixture(scope='session', autouse=True)
def one_thread():
    digits_runs.use_one_thread()


@pytest.fixture(scope='session')
def base(tmp_path_factory):
    """Folder that the tests of a session share."""
    return tmp_path_factory.getbasetemp()


@pytest.fixture(scope='session')
def digits(base):
    """The folder of a few of the digits."""
    return digits_runs.digits_folder(base)


@pytest.fixture(scope='session')
def supernet(base):
    """Checkpoint of a supernet trained on them."""
    return digits_runs.supernet_checkpoint(base)


@pytest.fixture(scope='session')
def searched(base, tmp_path_factory):
    """A search of 2 generations of 3 paths: its config and candidates."""
    config = digits_runs.search_config(base, tmp_path_factory.mktemp('search'))
    return config, digits_runs.run_search(deepcopy(config))


@pytest.fixture
def refusal(capsys):
    """Runs a tool that must refuse its input; returns its one error line."""

    def run(tool, *arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as error:
            run_here(tool, *arguments)
        assert error.value.code == 2
        lines = capsys.readouterr().err.splitlines()
        assert not [line for line in lines if 'Traceback' in line]
        # The line of argparse begins with the name of the tool.
        errors = [line for line in lines if line.startswith('error: ')]
        (line,) = errors or lines[-1:]
        return line

    return run


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
    handler = signal.getsignal(signal.SIGTERM)
    for tries_left in (2, 1, 0):
        try:
            ray.init(
                address='local',
                num_cpus=4,
                num_gpus=0,
                include_dashboard=False,
                logging_level='ERROR',
                log_to_driver=False,
            )
            break
        except Exception:
            # Ray gives up after half a minute, on a busy machine too.
            ray.shutdown()
            if not tries_left:
                raise
    # Pools of later tests would inherit Ray's handler.
    signal.signal(signal.SIGTERM, handler)
    task = ray.remote(lambda: None).options(num_cpus=1).remote()
    done, _ = ray.wait([task], timeout=120)
    if not done:
        ray.shutdown()
        pytest.skip('Ray starts no process here in time')
    yield ray
    ray.shutdown()
