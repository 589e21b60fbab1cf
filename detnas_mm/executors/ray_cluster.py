"""Connection to a Ray cluster, on this machine or elsewhere."""

import logging
import os
import signal
import socket
import time
from collections.abc import Mapping
from types import ModuleType

from detnas_mm.executors.base import describe
from detnas_mm.utils.errors import InputError

# By default the workers of Ray give way to every other process, and have one
# minute to start: too little on a busy machine.
ENVIRONMENT = {
    'RAY_worker_niceness': '0',
    'RAY_worker_register_timeout_seconds': '600',
}


class HeadLostError(InputError):
    """The head of the cluster does not answer."""


def require_ray() -> ModuleType:
    """Returns the module of Ray, or raises InputError without it."""
    try:
        import ray
    except ImportError as error:
        raise InputError(
            'the executor Ray needs a package: pip install "ray>=2.9"'
        ) from error
    return ray


def start_ray(ray: ModuleType, address: str | None) -> None:
    """Connects to a cluster, or starts one on this machine.

    Args:
        ray: The module of Ray.
        address: Address of the cluster. Defaults to ``RAY_ADDRESS``, else to
            a new cluster on this machine.

    Raises:
        InputError: If there is no cluster at the address.
    """
    address = address or os.environ.get('RAY_ADDRESS') or 'local'
    options = dict(logging_level=logging.ERROR, log_to_driver=False)
    if address == 'local':
        # An existing cluster has its own settings.
        options['include_dashboard'] = False
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if address.rpartition(':')[2].isdigit():
            # Ray itself would try for minutes.
            _connect(address)
        ray.init(address=address, **options)
    except Exception as error:
        if address == 'local':
            raise
        raise InputError(
            f'no Ray cluster at {address}: {describe(error)}; start one with '
            '`ray start --head`, or omit the address; if it asks for a token, '
            'set RAY_AUTH_MODE=token and copy ~/.ray/auth_token from its head'
        ) from error
    # Ray replaces the handler.
    signal.signal(signal.SIGTERM, handler)


def wait_for_head(address: str, seconds: float) -> None:
    """Waits until the head answers, at most some seconds."""
    end = time.monotonic() + seconds
    while True:
        try:
            return _connect(address)
        except OSError as error:
            if time.monotonic() > end:
                raise HeadLostError(
                    f'the head of the Ray cluster is lost ({error}): what was '
                    'recorded is kept; start the cluster again, or omit '
                    '--address, and continue with --resume'
                ) from error
        time.sleep(1)


def count_workers(
    resources: Mapping[str, float], gpus: float, cpus: float
) -> int:
    """Returns how many workers of a size the resources allow."""
    count = int(resources.get('CPU', 0) // cpus)
    if gpus:
        count = min(count, int(resources.get('GPU', 0) // gpus))
    return count


def _connect(address: str) -> None:
    host, _, port = address.rpartition('/')[2].rpartition(':')
    socket.create_connection((host, int(port)), timeout=10).close()
