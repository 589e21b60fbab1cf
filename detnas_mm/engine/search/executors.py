"""Who evaluates the candidates of a search, from its config."""

import logging
import os
import socket
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from functools import partial
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop
from mmengine.utils import import_modules_from_strings

from detnas_mm.executors.agreement import disagreement
from detnas_mm.executors.base import CandidateEvaluator, LocalEvaluator
from detnas_mm.executors.distributed import DistributedEvaluator
from detnas_mm.executors.errors import WrongSearchError, describe
from detnas_mm.executors.job import Job
from detnas_mm.executors.journal import Journal
from detnas_mm.executors.ray import RayEvaluator
from detnas_mm.executors.ray_cluster import RaySettings, require_ray
from detnas_mm.executors.serial import InProcessEvaluator
from detnas_mm.executors.watch import JobLimits
from detnas_mm.structures import SearchHeader
from detnas_mm.utils.errors import InputError


def executor_settings(
    executor: Mapping | None, launcher: str, chunk: int = 1
) -> JobLimits | RaySettings | None:
    """Reads the settings of the executor.

    Args:
        executor: ``dict(type='ray', ...)`` with the fields of
            :class:`RaySettings`, or ``dict(type='distributed', ...)`` with
            those of :class:`JobLimits`. Defaults to this process alone, or
            to the processes of a launcher.
        launcher: How the processes of the search were started.
        chunk: How many paths a process or worker takes at a time, unless
            ``executor`` says so.

    Returns:
        The settings; ``None`` for this process alone.

    Raises:
        InputError: If a setting is unknown or out of its range, or Ray is
            not installed.
    """
    if chunk < 1:
        raise InputError(f'`chunk` must be at least 1, got {chunk}')
    alone = launcher == 'none'
    default = 'local' if alone else 'distributed'
    settings = {'type': default, **(executor or {})}
    kind = settings.pop('type')
    allowed = ('local', 'ray') if alone else ('distributed',)
    if kind not in allowed:
        raise InputError(
            f'the executor with launcher {launcher!r} must be '
            f'{" or ".join(allowed)}, got {kind!r}'
        )
    if kind == 'local':
        return None
    cls = RaySettings if kind == 'ray' else JobLimits
    try:
        read = cls(**{'chunk': chunk, **settings})
    except TypeError as error:
        raise InputError(
            f'the executor {kind} has the settings '
            f'{", ".join(cls.__dataclass_fields__)}, got {", ".join(settings)}'
        ) from error
    if kind == 'ray':
        require_ray()
    return read


def open_executor(
    settings: JobLimits | RaySettings | None,
    local: LocalEvaluator,
    *,
    job: Job | None,
    journal: Journal,
    config: Config,
    header: SearchHeader,
    logger: logging.Logger,
) -> AbstractContextManager[CandidateEvaluator]:
    """Opens the executor of a search, for use in a ``with`` statement.

    Args:
        settings: What :func:`executor_settings` gave.
        local: Evaluates candidates in this process.
        job: The processes that a launcher has started.
        journal: Keeps what has finished until it is recorded.
        config: The config of the search.
        header: What defines the search, also for its processes.
        logger: The logger of the runner.
    """
    if job is not None:
        return DistributedEvaluator(
            job, local, limits=settings, journal=journal, header=header
        )
    if isinstance(settings, RaySettings):
        build = partial(build_worker, config.to_dict(), header, os.getcwd())
        return RayEvaluator(build, settings, journal=journal, logger=logger)
    return nullcontext(InProcessEvaluator(local, journal))


def build_worker(
    config: Mapping, header: SearchHeader, folder: str
) -> LocalEvaluator:
    """Builds what evaluates the candidates of a search in a Ray worker.

    Args:
        config: The config of the search. Its checkpoint must be readable
            where the worker runs.
        header: What defines the search.
        folder: Where the search was started, from which relative paths go;
            there must be the same one where the worker runs.

    Raises:
        RuntimeError: If the worker cannot be built; names the machine and
            the folder.
        WrongSearchError: If its search differs, by another checkpoint say.
    """
    host = socket.gethostname()
    try:
        os.chdir(folder)
        loop = _worker_loop(config)
    except Exception as error:
        raise RuntimeError(
            f'on {host} in {folder}: {describe(error)}'
        ) from error
    difference = disagreement(
        loop.header(), header, me='the worker', them='the command'
    )
    if difference is not None:
        raise WrongSearchError(difference)
    return loop.local_evaluator()


def _worker_loop(config: Mapping) -> BaseLoop:
    config = Config(deepcopy(dict(config)))
    if config.get('custom_imports'):
        import_modules_from_strings(**config.custom_imports)
    name = f'{socket.gethostname()}-{os.getpid()}'
    config.work_dir = str(Path(config.work_dir) / 'workers' / name)
    config.launcher = 'none'
    config.val_cfg.update(
        worker=True, launcher='none', executor=None, resume=False
    )
    runner = Runner.from_cfg(config)
    runner.call_hook('before_run')
    return runner.val_loop
