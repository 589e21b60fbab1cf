"""Evaluation by the processes that torchrun, Slurm or MPI has started.

Every rank evaluates; rank 0 also runs the search. They share a key-value
store and no process group: with one, the data samplers and metrics of
MMEngine would synchronize candidates that are independent.

The store holds the queue. Rank 0 sets ``path/0``, ``path/1`` and so on; a
rank that is free draws the next number from the counter ``ticket``, waits for
this path and appends its result as ``result/0``, ``result/1`` and so on, in
the order of finishing. Rank 0 evaluates in a thread of its own, so that each
result reaches the record at once. The launcher ends all ranks when one dies.
"""

import contextlib
import ctypes
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from datetime import timedelta

import torch
from torch.distributed import DistError, Store, rendezvous

from detnas_mm.compat import require_launched
from detnas_mm.executors.base import (
    PathEvaluator,
    Result,
    WrongSearchError,
    describe,
)
from detnas_mm.structures import ArchPath
from detnas_mm.utils.errors import InputError

# How long the processes wait for each other when they start.
START_SECONDS = 600
# Added to the time limit of a candidate, for what surrounds its evaluation.
MARGIN_SECONDS = 60
# How long rank 0 waits for all ranks at the end: some may still be starting.
STOP_SECONDS = 60
# `Store.wait` would block Ctrl-C and log a warning at each timeout.
POLL_SECONDS = 0.05
# Key that is set at the end of the search; also queued after the last path.
STOP = 'stop'

_TORCHRUN = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')
# Their names in the environments of other launchers.
_ENVIRONMENTS = {
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': (
        'OMPI_COMM_WORLD_RANK',
        'OMPI_COMM_WORLD_SIZE',
        'OMPI_COMM_WORLD_LOCAL_RANK',
    ),
}
_RESUME = 'see its log, fix the cause and run again with --resume'
# Failures of other ranks that rank 0 raises as they are.
_RAISED_AS_THEY_ARE = {e.__name__: e for e in (InputError, WrongSearchError)}


@dataclass(frozen=True)
class LaunchInfo:
    """The processes of a search, and the key-value store that they share."""

    store: Store
    rank: int  # of this process, from 0
    world_size: int


def read_launch_rank(launcher: str) -> int:
    """Returns the rank of this process, 0 without a launcher.

    Sets the environment variables of torchrun, whatever the launcher is.

    Args:
        launcher: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.

    Raises:
        InputError: If this launcher has not started the process.
    """
    if launcher == 'none':
        return 0
    sources = _ENVIRONMENTS.get(launcher, _TORCHRUN)
    for name, source in zip(_TORCHRUN, sources, strict=True):
        if source in os.environ:
            os.environ[name] = os.environ[source]
    require_launched(
        launcher,
        'start the search by tools/dist_search.sh or tools/slurm_search.sh',
    )
    os.environ.setdefault('MASTER_ADDR', _first_host())
    os.environ.setdefault('MASTER_PORT', _port_of_job())
    return int(os.environ['RANK'])


def connect() -> LaunchInfo:
    """Connects this process to the store of all processes.

    Raises:
        InputError: If the processes do not find each other.
    """
    try:
        timeout = timedelta(seconds=START_SECONDS)
        store, rank, world_size = next(rendezvous('env://', timeout=timeout))
    except Exception as error:
        address, port = os.environ['MASTER_ADDR'], os.environ['MASTER_PORT']
        raise InputError(
            f'the processes did not find each other at {address}:{port} '
            f'within {START_SECONDS} s ({describe(error)}): set MASTER_ADDR '
            'to a host that all machines reach and MASTER_PORT to a free port'
        ) from error
    return LaunchInfo(store, rank, world_size)


@dataclass(eq=False)
class Launched:
    """Evaluates paths on all processes of a launcher; for rank 0.

    Args:
        evaluate: Evaluates one path in this process.
        info: The processes.
        header: JSON text that defines the search.
        candidate_timeout: Seconds that the evaluation of a path may take.

    Raises:
        InputError: If ``candidate_timeout`` is not positive.
    """

    evaluate: PathEvaluator
    info: LaunchInfo
    _: KW_ONLY
    header: str = ''
    candidate_timeout: float = 14400.0

    def __post_init__(self) -> None:
        if self.candidate_timeout <= 0:
            raise InputError(
                '`candidate_timeout` must be more than 0, got '
                f'{self.candidate_timeout}'
            )
        self.store = self.info.store
        self._queue: list[ArchPath] = []
        # Queued, but not yet yielded.
        self._unfinished: set[ArchPath] = set()
        self._num_read = 0
        self.store.set('header', self.header)

    def run(
        self, paths: Sequence[ArchPath], ahead: Sequence[ArchPath] = ()
    ) -> Iterator[tuple[ArchPath, Result]]:
        """Yields each path with its result as soon as it has finished.

        Raises:
            InputError: If the evaluator does not give the metric.
            WrongSearchError: If another rank has another search.
            RuntimeError: If another rank has failed or hangs.
        """
        for path in (*paths, *ahead):
            if path not in self._unfinished:
                self._unfinished.add(path)
                self.store.set(f'path/{len(self._queue)}', json.dumps(path))
                self._queue.append(path)
        while not self._unfinished.isdisjoint(paths):
            path, result = self._next_result()
            self._unfinished.remove(path)
            yield path, result

    def __enter__(self) -> 'Launched':
        has_gpu = torch.cuda.is_available()
        device = torch.cuda.current_device() if has_gpu else None
        settings = (torch.get_num_threads(), device)
        self._thread = threading.Thread(
            target=self._serve, args=settings, daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, kind: object, *details: object) -> None:
        # After an error other ranks may have died.
        seconds = STOP_SECONDS if kind is None else 5
        ranks = range(self.info.world_size)
        if kind is not None:
            # A thread that is in torch when Python ends aborts the process.
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self._thread.ident),
                ctypes.py_object(SystemExit),
            )
        with contextlib.suppress(DistError):
            self.store.set(STOP, '')
            # Each rank waits for at most one path.
            for rank in ranks:
                self.store.set(f'path/{len(self._queue) + rank}', STOP)
            # The store may end with this process.
            keys = [f'stopped/{rank}' for rank in ranks if rank]
            _wait_for(self.store, keys, seconds)
        self._thread.join(seconds)

    def _serve(self, num_threads: int, device: int | None) -> None:
        """Evaluates on this rank; runs in a thread."""
        # The number of threads is set per thread, and scores depend on it.
        torch.set_num_threads(num_threads)
        if device is not None:
            torch.cuda.set_device(device)
        # Failures are read from the store, as those of other ranks.
        with contextlib.suppress(Exception, SystemExit):
            serve(
                lambda path: self.evaluate(path),
                self.info,
                header=self.header,
                candidate_timeout=self.candidate_timeout,
            )

    def _next_result(self) -> tuple[ArchPath, Result]:
        """Waits for the next result of any rank."""
        key = f'result/{self._num_read}'
        limit = self.candidate_timeout + MARGIN_SECONDS
        if not _wait_for(self.store, [key], limit):
            raise RuntimeError(
                f'no result from rank {self._busy_ranks()} within '
                f'{self.candidate_timeout:g} s (`candidate_timeout`): it '
                f'has died or hangs; {_RESUME}'
            )
        self._num_read += 1
        report = json.loads(self.store.get(key))
        if 'failure' in report:
            kind = _RAISED_AS_THEY_ARE.get(report['type'], RuntimeError)
            raise kind(report['failure'])
        return tuple(report.pop('path')), Result(**report)

    def _busy_ranks(self) -> str:
        keys = [
            key
            for number, path in enumerate(self._queue)
            if path in self._unfinished
            and self.store.check([key := f'rank/{number}'])
        ]
        return ', '.join(sorted({self.store.get(k).decode() for k in keys}))


def _text_difference(first: str, second: str) -> str | None:
    return None if first == second else f'{first} there, {second} now'


def serve(
    evaluate: PathEvaluator,
    info: LaunchInfo,
    *,
    header: str = '',
    candidate_timeout: float = 14400.0,
    difference: Callable[[str, str], str | None] = _text_difference,
) -> None:
    """Evaluates what rank 0 queues, until it ends.

    ``difference`` returns what differs between the header of rank 0 and the
    one of this rank, ``None`` if they define the same search. The others are
    the arguments of :class:`Launched`.

    Raises:
        InputError: If the evaluator does not give the metric.
        WrongSearchError: If rank 0 has another search.
        RuntimeError: If rank 0 has died or hangs, or the device has failed.
    """
    store, name = info.store, f'rank {info.rank} on {socket.gethostname()}'
    # Rank 0 may wait for an evaluation that hangs.
    limit = candidate_timeout + MARGIN_SECONDS + START_SECONDS

    def get(key: str) -> str:
        if not _wait_for(store, [key], limit):
            raise RuntimeError(f'rank 0 is silent for {limit:g} s: it hangs')
        return store.get(key).decode()

    try:
        changes = difference(get('header'), header)
        if changes is not None:
            raise WrongSearchError(
                f'{name} has another search than rank 0 (there: rank 0, '
                f'now: rank {info.rank}): {changes}'
            )
        while (text := get(f'path/{_draw_ticket(info)}')) != STOP:
            if store.check([STOP]):
                break
            path = tuple(json.loads(text))
            _report(store, {'path': path, **asdict(evaluate(path))})
    except DistError as error:
        raise RuntimeError(
            f'{name} has lost the connection to rank 0; {_RESUME}'
        ) from error
    except Exception as error:
        kind, message = type(error).__name__, str(error)
        if kind not in _RAISED_AS_THEY_ARE:
            message = f'{name} has failed: {describe(error)}; {_RESUME}'
        _report(store, {'failure': message, 'type': kind})
        raise
    finally:
        with contextlib.suppress(DistError):
            store.set(f'stopped/{info.rank}', '')


def _draw_ticket(info: LaunchInfo) -> int:
    """Returns the number of the path that this rank evaluates next."""
    number = info.store.add('ticket', 1) - 1
    info.store.set(f'rank/{number}', str(info.rank))
    return number


def _report(store: Store, report: Mapping[str, object]) -> None:
    """Appends a result or a failure to what rank 0 reads."""
    index = store.add('finished', 1) - 1
    store.set(f'result/{index}', json.dumps(report))


def _wait_for(store: Store, keys: list[str], seconds: float) -> bool:
    """Returns whether all keys are set within a time."""
    end = time.monotonic() + seconds
    while keys and not store.check(keys):
        if time.monotonic() > end:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _port_of_job() -> str:
    """Returns a port that differs between the jobs of Slurm."""
    job = os.environ.get('SLURM_JOB_ID', '')
    return str(20000 + int(job) % 10000) if job.isdigit() else '29500'


def _first_host() -> str:
    """Returns the first host of a job of Slurm, otherwise this one."""
    nodes = os.environ.get('SLURM_NODELIST')
    if nodes is None:
        return '127.0.0.1'
    command = ['scontrol', 'show', 'hostnames', nodes]
    return subprocess.check_output(command, text=True).split()[0]
