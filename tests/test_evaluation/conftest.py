"""A Ray cluster for the tests that need one."""

import os
import signal
from pathlib import Path

import pytest

from detnas_mm.evaluation.ray_cluster import ENVIRONMENT

# Seconds.
PATIENCE = 120


@pytest.fixture(scope='session')
def ray():
    """Ray, whose workers can import the kit."""
    module = pytest.importorskip('ray')
    with pytest.MonkeyPatch.context() as patch:
        tests = str(Path(__file__).parents[1])
        patch.setenv('PYTHONPATH', tests, prepend=os.pathsep)
        # Its processes start in time, whatever other tests run beside them.
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield module


@pytest.fixture(scope='module')
def ray_cluster(ray):
    """A cluster on this machine, for all tests of a module."""
    start(ray)
    if not starts_a_worker(ray):
        ray.shutdown()
        pytest.skip(f'Ray starts no process here within {PATIENCE} s')
    yield ray
    ray.shutdown()


def starts_a_worker(ray):
    """Whether this machine has time and room for one."""
    task = ray.remote(lambda: None).options(num_cpus=1).remote()
    done, _ = ray.wait([task], timeout=PATIENCE)
    return bool(done)


def start(ray, tries=3):
    """Starts it; Ray gives up after half a minute, on a busy machine too.

    Its handler of SIGTERM is not left behind: pools of later tests would
    inherit it.
    """
    handler = signal.getsignal(signal.SIGTERM)
    for last in [False] * (tries - 1) + [True]:
        try:
            ray.init(
                address='local',
                num_cpus=4,
                num_gpus=0,
                include_dashboard=False,
                logging_level='ERROR',
                log_to_driver=False,
            )
            signal.signal(signal.SIGTERM, handler)
            return
        except Exception:
            ray.shutdown()
            if last:
                raise
