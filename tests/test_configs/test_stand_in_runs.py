"""Configs train or search for two iterations, with their real file names.

One config of each kind runs by default. ``pytest -m slow`` runs one of each
width of backbone, each supernet without pre-training and all detectors.
test_reproduction.py shows that the runs of all other configs are the same.
"""

from math import isfinite

import pytest
from kit.configs import METRICS, read_config
from kit.stand_in_runs import RUNS, SLOW_RUNS, run, write_data

ALL_RUNS = [
    *RUNS,
    *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_RUNS),
]


@pytest.fixture(scope='module', autouse=True)
def workplace(tmp_path_factory):
    """A folder with data/ and work_dirs/ in which all runs take place."""
    folder = tmp_path_factory.mktemp('workplace')
    with pytest.MonkeyPatch.context() as patch:
        write_data(folder)
        patch.chdir(folder)
        yield folder


@pytest.mark.parametrize('name', ALL_RUNS)
def test_runs(name):
    result = run(name)
    if '-search-' in name:
        check_search(name, result)
    else:
        check_training(name, result)


def check_search(name, candidates):
    settings = read_config(name).val_cfg
    assert len(candidates) == 2
    for candidate in candidates:
        assert candidate['status'] == 'complete', candidate['error']
        assert candidate['fitness'] == candidate['metrics'][settings.metric]
        assert candidate['macs'] <= settings.constraint.max_macs


def check_training(name, scalars):
    assert 'train/loss' in scalars
    # After two iterations a deep net may predict no box, and then CocoMetric
    # reports no metric. The BN statistics of a supernet are recalibrated.
    if 'supernet' in name or not name.endswith('coco'):
        assert f'val/{METRICS[name.rpartition("_")[2]]}' in scalars
    for key, values in scalars.items():
        assert all(isfinite(value) for value in values), key
