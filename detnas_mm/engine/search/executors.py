"""The executor of a search, and what its workers run."""

import json
import os
import socket
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict
from functools import partial
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings

from detnas_mm.engine.search.settings import SearchSettings, build_part
from detnas_mm.executors.base import Executor, PathEvaluator, WrongSearchError
from detnas_mm.executors.launched import Launched, LaunchInfo, serve
from detnas_mm.executors.ray import Ray
from detnas_mm.executors.serial import Serial
from detnas_mm.registry import EXECUTORS
from detnas_mm.structures import SearchHeader
from detnas_mm.utils.errors import InputError

for _executor in (Serial, Launched, Ray):
    EXECUTORS.register_module(module=_executor)


def build_executor(
    settings: SearchSettings,
    evaluate: PathEvaluator,
    *,
    info: LaunchInfo | None,
    config: Config,
    header: SearchHeader,
) -> Executor:
    """Builds the executor of a search.

    Its constructor gets by name what it declares of ``evaluate`` (evaluates
    a path in this process), ``build`` (builds the same in a worker), ``info``
    (the processes that a launcher has started), ``header`` (JSON text that
    defines the search) and ``logger``.

    Args:
        settings: The settings of the search.
        evaluate: Evaluates a path in this process.
        info: The processes that a launcher has started, if one has.
        config: The config of the search.
        header: What defines the search.

    Raises:
        InputError: If a setting is unknown or out of its range.
    """
    executor = {'type': 'Serial', **settings.executor}
    if info is not None and executor['type'] == 'Serial':
        executor = {'type': 'Launched'}
    if (executor['type'] == 'Launched') != (info is not None):
        raise InputError(
            f'`val_cfg.executor` {executor["type"]} does not go with launcher '
            f'{settings.launcher!r}: Launched needs a launcher, and with one '
            'nothing else runs; remove `val_cfg.executor`'
        )
    build = partial(build_evaluator, config.to_dict(), header, os.getcwd())
    offered = dict(
        evaluate=evaluate,
        build=build,
        info=info,
        header=header_text(header),
        logger=MMLogger.get_current_instance(),
    )
    return build_part(EXECUTORS, 'executor', executor, offered)[0]


def serve_search(
    settings: SearchSettings,
    evaluate: PathEvaluator,
    *,
    info: LaunchInfo,
    header: SearchHeader,
) -> None:
    """Evaluates for rank 0 of a launcher, until it ends."""
    limits = {k: v for k, v in settings.executor.items() if k != 'type'}
    serve(
        evaluate,
        info,
        header=header_text(header),
        difference=_header_difference,
        **limits,
    )


def header_text(header: SearchHeader) -> str:
    """Returns a header as JSON."""
    return json.dumps(asdict(header))


def _header_difference(first: str, second: str) -> str | None:
    before, after = map(json.loads, (first, second))
    return SearchHeader(**before).difference(SearchHeader(**after))


def build_evaluator(
    config: Mapping, header: SearchHeader, folder: str
) -> PathEvaluator:
    """Builds what evaluates paths in a worker, which may be elsewhere.

    Args:
        config: The config of the search. Its checkpoint must be readable
            where the worker runs.
        header: What defines the search.
        folder: Where the search was started. Relative paths begin there; the
            worker needs the same folder.

    Raises:
        WrongSearchError: If the worker has another search, for example
            because its checkpoint is another one.
    """
    os.chdir(folder)
    config = Config(deepcopy(dict(config)))
    if config.get('custom_imports'):
        import_modules_from_strings(**config.custom_imports)
    name = f'{socket.gethostname()}-{os.getpid()}'
    config.work_dir = str(Path(config.work_dir) / 'workers' / name)
    config.launcher = 'none'
    config.val_cfg.update(evaluate_only=True, launcher='none', resume=False)
    # `update` would merge the settings of the executor.
    config.val_cfg.executor = {}
    runner = Runner.from_cfg(config)
    runner.call_hook('before_run')
    loop = runner.val_loop
    difference = header.difference(loop.header)
    if difference is not None:
        raise WrongSearchError(
            f'the worker on {socket.gethostname()} has another search than '
            f'the command (there: the command, now: the worker): {difference}'
        )
    return loop.evaluate
