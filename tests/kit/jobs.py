"""Searches of several processes, as a launcher starts them."""

import multiprocessing
import os
import socket
import sys
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path
from unittest import mock

from detnas_mm.executors import launched as module
from detnas_mm.executors.launched import Launched, connect, serve


def server_context(*preload):
    """Starts the server from which processes are forked, if needed."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['kit.warm_up', 'kit.jobs', *preload])
    # The server of Python 3.11 ignores sys.path, and would import nothing.
    with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)):
        forkserver.ensure_running()
    return context


def start_rank(rank, world_size, port, build, **settings):
    """Starts a process that serves.

    The settings are those of ``serve``, and ``errors``: a folder for errors.
    """
    process = server_context().Process(
        target=_serve,
        args=(environment(rank, world_size, port), build),
        kwargs=settings,
    )
    process.start()
    return process


def environment(rank, world_size, port):
    """What torchrun sets."""
    return {
        'RANK': str(rank),
        'WORLD_SIZE': str(world_size),
        'MASTER_ADDR': '127.0.0.1',
        'MASTER_PORT': str(port),
    }


def free_port():
    """Returns a port that nobody uses."""
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        return server.getsockname()[1]


@contextmanager
def launched(world_size, evaluate, build, *, served=None, **settings):
    """The executor of rank 0, in this process; the other ranks must end.

    Rank 0 uses ``evaluate`` and ``settings``. The other ranks use ``build``
    and ``served``, the settings of ``serve``.
    """
    port = free_port()
    processes = [
        start_rank(rank, world_size, port, build, **(served or {}))
        for rank in range(1, world_size)
    ]
    try:
        with (
            mock.patch.dict(os.environ, environment(0, world_size, port)),
            mock.patch.object(module, 'START_SECONDS', 60),
        ):
            info = connect()
        with Launched(evaluate, info, **settings) as executor:
            executor.processes = processes
            yield executor
    finally:
        for process in processes:
            process.join(20)
            process.kill()


def _serve(variables, build, errors=None, **settings):
    os.environ.update(variables)
    try:
        serve(build(), connect(), **settings)
    except Exception as error:
        if errors is not None:
            file = Path(errors) / f'rank{variables["RANK"]}'
            file.write_text(f'{type(error).__name__}: {error}')
        raise
