"""What launchers tell the processes of a job."""

import pytest

from detnas_mm.evaluation import job_rank


def test_slurm_sets_what_torchrun_would(monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('SLURM_PROCID', '3')
    monkeypatch.setenv('SLURM_NTASKS', '8')
    monkeypatch.setenv('SLURM_LOCALID', '1')
    monkeypatch.delenv('SLURM_NODELIST', raising=False)
    assert job_rank('slurm') == 3
    # What it set is for this test only.
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR'):
        monkeypatch.delenv(name)
    monkeypatch.delenv('MASTER_PORT', raising=False)


def test_a_process_without_launcher_is_explained(monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match='dist_search.sh'):
        job_rank('pytorch')
    assert job_rank('none') == 0
