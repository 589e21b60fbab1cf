"""Evaluation of candidates by many processes, one candidate each.

The processes share a key-value store, which ``torchrun``, Slurm and MPI jobs
have anyway, and no process group: each evaluates its candidate as if it were
alone, so that nothing in ``mm*`` synchronises inside an evaluation. Rank 0
decides what is evaluated; every process, rank 0 too, takes the next path as
soon as it is free. What comes out does not depend on their number.
"""

import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta

from torch.distributed import Store, rendezvous

from detnas_mm.structures import Path

from .local import Evaluation, LocalEvaluator, UnknownMetricError

_POLL_SECONDS = 0.05
_STOP = 'stop'
_GOODBYES = 'goodbyes'

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
    missing = {'RANK', 'WORLD_SIZE', 'LOCAL_RANK'} - set(os.environ)
    if missing:
        raise ValueError(
            f'`launcher` {launcher!r} did not set {", ".join(sorted(missing))}'
            '; start the search by tools/dist_search.sh or '
            'tools/slurm_search.sh'
        )
    os.environ.setdefault('MASTER_ADDR', _first_host())
    os.environ.setdefault('MASTER_PORT', '29500')
    return int(os.environ['RANK'])


def connect() -> Job:
    """Connects this process with the others of its job."""
    store, rank, world_size = next(rendezvous('env://'))
    store.set_timeout(timedelta(days=30))
    return Job(store, rank, world_size)


def _first_host() -> str:
    nodes = os.environ.get('SLURM_NODELIST')
    if nodes is None:
        return '127.0.0.1'
    command = ['scontrol', 'show', 'hostnames', nodes]
    return subprocess.check_output(command, text=True).split()[0]


class DistributedEvaluator:
    """Evaluates candidates on all processes of a job.

    Args:
        job: The processes.
        local: Evaluates a candidate in this process.
    """

    def __init__(self, job: Job, local: LocalEvaluator) -> None:
        self.store = job.store
        self.num_others = job.world_size - 1
        self.local = local
        self._round = 0

    def evaluate(self, paths: Sequence[Path]) -> Iterator[Evaluation]:
        """Yields the evaluation of each path, in the order of the paths.

        Raises:
            UnknownMetricError: If the evaluator does not give the metric.
        """
        key = self._next_round(paths)
        waiting = 0
        working = True
        while waiting < len(paths):
            working = working and self._work(key, paths)
            while waiting < len(paths):
                evaluation = self._result(f'{key}/{waiting}')
                if evaluation is None:
                    break
                yield evaluation
                waiting += 1
            if not working:
                time.sleep(_POLL_SECONDS)

    def serve(self) -> None:
        """Evaluates what rank 0 asks for, until it says stop."""
        while True:
            self._round += 1
            key = f'round{self._round}'
            while not self.store.check([key]):
                if self.store.check([_STOP]):
                    self.store.add(_GOODBYES, 1)
                    return
                time.sleep(_POLL_SECONDS)
            paths = [tuple(path) for path in json.loads(self.store.get(key))]
            while self._work(key, paths):
                pass

    def close(self) -> None:
        """Lets the other processes end."""
        self.store.set(_STOP, '1')
        # Rank 0 may be the one that keeps the store.
        patience = time.monotonic() + 60
        while time.monotonic() < patience:
            if self.store.add(_GOODBYES, 0) >= self.num_others:
                return
            time.sleep(_POLL_SECONDS)

    def _next_round(self, paths: Sequence[Path]) -> str:
        self._round += 1
        key = f'round{self._round}'
        self.store.set(key, json.dumps([list(path) for path in paths]))
        return key

    def _work(self, key: str, paths: Sequence[Path]) -> bool:
        """Evaluates the next path that nobody has taken, if there is one."""
        ticket = self.store.add(f'{key}/ticket', 1) - 1
        if ticket >= len(paths):
            return False
        try:
            (evaluation,) = self.local.evaluate([paths[ticket]])
            result = asdict(evaluation)
        except UnknownMetricError as error:
            result = {'unknown_metric': str(error)}
        self.store.set(f'{key}/{ticket}', json.dumps(result))
        return True

    def _result(self, key: str) -> Evaluation | None:
        if not self.store.check([key]):
            return None
        result = json.loads(self.store.get(key))
        if 'unknown_metric' in result:
            raise UnknownMetricError(result['unknown_metric'])
        return Evaluation(**result)
