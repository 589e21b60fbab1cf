"""The processes of a search that a launcher has started.

They share a key-value store, which ``torchrun``, Slurm and MPI jobs have
anyway, and no process group: each evaluates its candidate as if it were
alone, so that nothing in ``mm*`` synchronises inside an evaluation.
"""

import os
import subprocess
from dataclasses import dataclass
from datetime import timedelta

from torch.distributed import Store, rendezvous

from detnas_mm.compat import require_launched

# How long the processes of a job wait for each other when they start.
START_SECONDS = 600

# What launchers call the variables that torchrun sets itself.
_ENVIRONMENTS = {
    'slurm': {
        'RANK': 'SLURM_PROCID',
        'WORLD_SIZE': 'SLURM_NTASKS',
        'LOCAL_RANK': 'SLURM_LOCALID',
    },
    'mpi': {
        'RANK': 'OMPI_COMM_WORLD_RANK',
        'WORLD_SIZE': 'OMPI_COMM_WORLD_SIZE',
        'LOCAL_RANK': 'OMPI_COMM_WORLD_LOCAL_RANK',
    },
}


@dataclass(frozen=True)
class Job:
    """The processes of a search.

    Attributes:
        store: What they share.
        rank: Number of this process, from 0.
        world_size: How many there are.
    """

    store: Store
    rank: int
    world_size: int


def job_rank(launcher: str) -> int:
    """Returns the rank of this process, 0 if it is alone.

    Afterwards the environment is that which ``torchrun`` sets, whatever the
    launcher was.

    Args:
        launcher: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.

    Raises:
        ValueError: If the process was not started by this launcher.
    """
    if launcher == 'none':
        return 0
    for name, source in _ENVIRONMENTS.get(launcher, {}).items():
        if source in os.environ:
            os.environ[name] = os.environ[source]
    require_launched(
        launcher,
        'start the search by tools/dist_search.sh or tools/slurm_search.sh',
    )
    os.environ.setdefault('MASTER_ADDR', _first_host())
    os.environ.setdefault('MASTER_PORT', _port_of_job())
    return int(os.environ['RANK'])


def connect() -> Job:
    """Connects this process with the others of its job.

    Raises:
        RuntimeError: If they do not come within ten minutes.
    """
    try:
        timeout = timedelta(seconds=START_SECONDS)
        store, rank, world_size = next(rendezvous('env://', timeout=timeout))
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise RuntimeError(
            'the processes of the job did not find each other at '
            f'{os.environ["MASTER_ADDR"]}:{os.environ["MASTER_PORT"]} within '
            f'{START_SECONDS} s: {reason}'
        ) from error
    return Job(store, rank, world_size)


def _port_of_job() -> str:
    """Returns a port that another job of Slurm on this machine has not."""
    job = os.environ.get('SLURM_JOB_ID', '')
    return str(20000 + int(job) % 10000) if job.isdigit() else '29500'


def _first_host() -> str:
    nodes = os.environ.get('SLURM_NODELIST')
    if nodes is None:
        return '127.0.0.1'
    command = ['scontrol', 'show', 'hostnames', nodes]
    return subprocess.check_output(command, text=True).split()[0]
