"""A Ray cluster for the tests that need one."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope='session')
def ray_cluster():
    """Ray on this machine, for all tests of a session: it starts slowly."""
    ray = pytest.importorskip('ray')
    tests = str(Path(__file__).parents[1])
    before = os.environ.get('PYTHONPATH')
    os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, [tests, before]))
    start(ray)
    yield ray
    ray.shutdown()
    if before is None:
        del os.environ['PYTHONPATH']
    else:
        os.environ['PYTHONPATH'] = before


def start(ray, tries=3):
    """Starts it; Ray gives up after half a minute, on a busy machine too."""
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
            return
        except Exception:
            ray.shutdown()
            if last:
                raise
