"""What launchers tell the processes of a job."""

import os
from unittest import mock

import pytest

from detnas_mm.executors.job import job_rank

TORCHRUN = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')


@pytest.fixture
def bare():
    """An environment without a launcher."""
    with mock.patch.dict(os.environ):
        for name in (*TORCHRUN, 'SLURM_NODELIST', 'SLURM_JOB_ID'):
            os.environ.pop(name, None)
        yield


@pytest.mark.parametrize(
    ('launcher', 'rank', 'size', 'local_rank'),
    [
        ('slurm', 'SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
        (
            'mpi',
            'OMPI_COMM_WORLD_RANK',
            'OMPI_COMM_WORLD_SIZE',
            'OMPI_COMM_WORLD_LOCAL_RANK',
        ),
    ],
)
def test_launchers_set_what_torchrun_would(
    bare, launcher, rank, size, local_rank
):
    with mock.patch.dict(os.environ, {rank: '9', size: '16', local_rank: '1'}):
        assert job_rank(launcher) == 9
        found = {name: os.environ[name] for name in TORCHRUN}
    assert found == dict(
        RANK='9',
        WORLD_SIZE='16',
        LOCAL_RANK='1',
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT='29500',
    )


def test_slurm_names_the_first_host(bare, tmp_path):
    """All processes meet there."""
    scontrol = tmp_path / 'scontrol'
    scontrol.write_text('#!/bin/sh\nprintf "gpu07\\ngpu08\\n"\n')
    scontrol.chmod(0o755)
    os.environ.update(
        SLURM_PROCID='9',
        SLURM_NTASKS='16',
        SLURM_LOCALID='1',
        SLURM_NODELIST='gpu[07-08]',
        PATH=f'{tmp_path}:{os.environ["PATH"]}',
    )
    job_rank('slurm')
    assert os.environ['MASTER_ADDR'] == 'gpu07'


def test_jobs_of_slurm_have_ports_of_their_own(bare):
    ports = set()
    for job in ('4711', '4712'):
        os.environ.pop('MASTER_PORT', None)
        os.environ.update(
            SLURM_PROCID='0',
            SLURM_NTASKS='1',
            SLURM_LOCALID='0',
            SLURM_JOB_ID=job,
        )
        job_rank('slurm')
        ports.add(os.environ['MASTER_PORT'])
    assert ports == {'24711', '24712'}


def test_a_process_without_launcher_is_explained(monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match='dist_search.sh'):
        job_rank('pytorch')
    assert job_rank('none') == 0
