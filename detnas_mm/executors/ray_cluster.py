"""A Ray cluster, and what a worker of a search takes of it."""

import logging
import os
import queue
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from detnas_mm.executors.errors import describe
from detnas_mm.utils.errors import InputError

T = TypeVar('T')

# What Ray needs to work on a busy machine: by default its workers yield to
# every other process, and connecting never ends if the first of them takes
# longer than a minute to start.
ENVIRONMENT = {
    'RAY_worker_niceness': '0',
    'RAY_worker_register_timeout_seconds': '600',
}

# After a minute without its head, Ray itself would end this process, and not
# say how to go on; to end in order takes some seconds, too.
_HEAD_SECONDS = 30.0


class ClusterLostError(ConnectionError):
    """The head of the cluster is no more."""


@dataclass(frozen=True, kw_only=True)
class RaySettings:
    """How Ray evaluates.

    Attributes:
        address: Address of the cluster, or ``'auto'`` for the one that this
            machine belongs to. Defaults to the one that ``RAY_ADDRESS``
            names, else to one of this machine and search alone.
        workers: Most workers at a time; ``None`` for as many as the cluster
            has room for.
        gpus_per_worker: GPUs of a worker. Defaults to one where the cluster
            has any.
        cpus_per_worker: CPU cores of a worker, its data loaders included.
        candidate_timeout: Seconds that an evaluation may take, the building
            of a worker too; then the worker counts as hanging.
        chunk: How many paths a worker takes at a time.

    Raises:
        InputError: If a setting is out of its range.
    """

    address: str | None = None
    workers: int | None = None
    gpus_per_worker: float | None = None
    cpus_per_worker: float = 1
    candidate_timeout: float = 14400.0
    chunk: int = 1

    def __post_init__(self) -> None:
        names = ('workers', 'cpus_per_worker', 'candidate_timeout', 'chunk')
        for name in names:
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise InputError(f'`{name}` must be more than 0, got {value}')
        if self.gpus_per_worker is not None and self.gpus_per_worker < 0:
            raise InputError(
                f'`gpus_per_worker` must be at least 0, got '
                f'{self.gpus_per_worker}'
            )


def require_ray() -> Any:
    """Returns the module of Ray.

    Raises:
        InputError: If it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError(
            'the executor ray needs Ray: pip install "ray>=2.9"'
        ) from error
    return ray


def start_ray(ray: Any, address: str | None) -> None:
    """Connects with a cluster, or starts one on this machine.

    Variables ``RAY_...`` that the user has set stay as they are.

    Raises:
        ConnectionError: If there is no cluster at the address.
    """
    address = address or os.environ.get('RAY_ADDRESS') or 'local'
    if address == 'local':
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
    handler = signal.getsignal(signal.SIGTERM)
    hint = 'start one by ray start --head, or leave the address out'
    try:
        if _has_listener(address):
            hint = (
                'if it asks for a token, set RAY_AUTH_MODE=token and copy '
                '~/.ray/auth_token from its head'
            )
        ray.init(
            address=address,
            logging_level=logging.ERROR,
            log_to_driver=False,
            # A cluster has its own settings.
            **({'include_dashboard': False} if address == 'local' else {}),
        )
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f'no Ray cluster at {address}: {describe(error)}; {hint}'
        ) from error
    if threading.current_thread() is threading.main_thread():
        # Ray has a handler of its own.
        signal.signal(signal.SIGTERM, handler)


def _has_listener(address: str) -> bool:
    """Whether somebody listens at a port; Ray itself would try for minutes.

    Raises:
        OSError: If nobody does.
    """
    host, _, port = address.rpartition('/')[2].rpartition(':')
    if not port.isdigit():
        return False
    socket.create_connection((host, int(port)), timeout=10).close()
    return True


def cluster_room(
    ray: Any, settings: RaySettings
) -> tuple[int, dict[str, float]]:
    """Returns how many workers there may be, and what each takes.

    Args:
        ray: The module of Ray, connected.
        settings: How large a worker is.

    Returns:
        The number of workers, and the resources of one as an actor's options.
    """
    total = ray.cluster_resources()
    gpus = settings.gpus_per_worker
    if gpus is None:
        gpus = 1 if total.get('GPU') else 0
    worker = {'num_gpus': gpus, 'num_cpus': settings.cpus_per_worker}
    room = _room_in(total, worker)
    if settings.workers is not None:
        room = min(room, settings.workers)
    return room, worker


def ask_head(question: Callable[[], T]) -> T:
    """Returns what the head of the cluster answers.

    Ray waits for a head that is no more without end, and cannot be
    interrupted: the question is asked in a thread of its own.

    Args:
        question: Asks it.

    Raises:
        ClusterLostError: If it does not answer within 30 s.
    """
    answers: queue.SimpleQueue = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put((question(), None))
        except Exception as error:
            answers.put((None, describe(error)))

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer, error = answers.get(timeout=_HEAD_SECONDS)
    except queue.Empty:
        answer, error = None, f'no answer for {_HEAD_SECONDS:g} s'
    if error is not None:
        raise ClusterLostError(
            f'the head of the Ray cluster is lost ({error}): what was '
            'recorded is kept; start the cluster anew, or leave --address '
            'out, and go on with --resume'
        )
    return answer


def free_room(ray: Any, settings: RaySettings) -> int:
    """Returns how many workers could be started beside all that runs.

    Args:
        ray: The module of Ray, connected.
        settings: How large a worker is.
    """
    _, worker = cluster_room(ray, settings)
    return _room_in(ray.available_resources(), worker)


def _room_in(resources: Mapping[str, float], worker: Mapping) -> int:
    room = int(resources.get('CPU', 0) // worker['num_cpus'])
    if worker['num_gpus']:
        gpus = resources.get('GPU', 0)
        room = min(room, int(gpus // worker['num_gpus']))
    return room
