"""Training of one candidate: what a supernet's score stands for."""

import contextlib
import json
import multiprocessing
import os
import threading
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings

from detnas_mm.engine.search.settings import SearchSettings
from detnas_mm.evaluation import use_exact_metrics
from detnas_mm.models import extract_path, last_checkpoint
from detnas_mm.structures import ArchPath, SearchHeader, SearchSpace
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import text_digest, write_atomically

# Prefix of the metrics on the test split.
TEST = 'test/'
# Settings of a scheduler that count epochs or iterations.
_TIMES = ('begin', 'end', 'T_max', 'total_iters', 'total_steps', 'step_size')


class CandidateTraining:
    """Scores paths, each by trainings of its own.

    A path starts from the supernet's weights, neck and heads included, and is
    trained by the schedule of the config, shortened to a share. Its score is
    that on the search split, as the mean of several seeds; the metrics hold
    the score of each seed. A training runs in a process of its own, and goes
    on where it was stopped. Trainings from another checkpoint, or by another
    schedule than the header's, are not continued.
    """

    def __init__(
        self,
        runner: Runner,
        space: SearchSpace,
        settings: SearchSettings,
        header: SearchHeader,
    ) -> None:
        self.model = runner.model
        self.space = space
        self.seeds = range(settings.training.seeds)
        self.metric = settings.metric
        work_dir = Path(runner.work_dir)
        if work_dir.parent.name == 'workers':
            # Another worker may continue what this one began.
            work_dir = work_dir.parents[1]
        digest = text_digest(header.config_digest + header.checkpoint_digest)
        self.folder = work_dir / 'trainings' / digest[:8]
        self.is_tested = settings.training.test
        self.config = detector_config(runner.cfg, self.is_tested)
        self.share = shorten_loop(self.config, settings.training.share)

    def score(self, path: ArchPath) -> Mapping[str, float]:
        """Trains a path with each seed and returns the mean metrics."""
        digits = self.space.format(path)
        trained = [self._train(path, digits, seed) for seed in self.seeds]
        if not all(trained):
            return {}  # nothing was predicted
        metrics = {
            key: float(np.mean([single[key] for single in trained]))
            for key in trained[0]
        }
        scores = [self.metric]
        if self.is_tested:
            scores.append(TEST + self.metric)
        for seed, single in enumerate(trained):
            for key in scores:
                metrics[seed_key(key, seed)] = single[key]
        return metrics

    def _train(self, path: ArchPath, digits: str, seed: int) -> Mapping:
        config = deepcopy(self.config)
        config.model.backbone.path = digits
        config.randomness.seed = seed
        config.work_dir = str(self.folder / f'{digits}_seed{seed}')
        finished = Path(config.work_dir) / 'metrics.json'
        if finished.exists():
            return json.loads(finished.read_text())
        checkpoint = last_checkpoint(config.work_dir)
        config.resume = checkpoint is not None
        start = checkpoint or Path(config.work_dir) / 'start.pth'
        config.load_from = str(start)
        if checkpoint is None:
            Path(config.work_dir).mkdir(parents=True, exist_ok=True)
            torch.save(extract_path(self.model.state_dict(), path), start)
        # A process of its own: MMEngine keeps loggers and default scopes. It
        # is forked from a server that has imported everything once.
        context = multiprocessing.get_context('forkserver')
        context.set_forkserver_preload([__name__, 'mmdet.apis'])
        with ProcessPoolExecutor(1, context) as pool:
            device = next(self.model.parameters()).device
            metrics = pool.submit(
                train, config.to_dict(), self.share, device.index
            ).result()
        write_atomically(finished, json.dumps(metrics) + '\n')
        return metrics


def seed_key(metric: str, seed: int) -> str:
    """Returns the key of the score of one training."""
    return f'{metric}/seed{seed}'


def detector_config(search: Config, is_tested: bool = False) -> Config:
    """Turns the config of a search into that of a training of one path.

    If ``is_tested``, the test split of the config is kept.

    Raises:
        InputError: If the supernet is not the model's backbone, or there is
            no test split to keep.
    """
    config = deepcopy(search)
    backbone = config.model.get('backbone') or {}
    if not str(backbone.get('type')).endswith('DetNASSupernet'):
        raise InputError(
            'finalists need the supernet as `model.backbone`, got '
            f'{backbone.get("type")!r} there'
        )
    backbone.type = 'detnas_mm.DetNASNet'
    backbone.init_cfg = None
    # One path has nothing to share.
    backbone.pop('entangled', None)
    config.custom_hooks = [
        hook
        for hook in config.get('custom_hooks') or ()
        if not str(hook.get('type')).endswith('SinglePathSamplingHook')
    ]
    for hook in config.custom_hooks:
        if str(hook.get('type')).endswith('BNRecalibrationHook'):
            hook.at_end = True
    config.val_cfg = dict(type='ValLoop')
    config.test_cfg = dict(type='TestLoop') if is_tested else None
    for name in ('test_dataloader', 'test_evaluator'):
        if not is_tested:
            config[name] = None
        elif not config.get(name):
            raise InputError(
                f'`training.test` needs `{name}`, which the config lacks'
            )
    config.launcher = 'none'
    config.randomness = {**(config.get('randomness') or {}), 'seed': 0}
    return config


def shorten_loop(config: Config, share: float) -> float:
    """Shortens a training to a share of it, with one validation at the end.

    Returns:
        The share that whole epochs or iterations make.

    Raises:
        InputError: If the config has no training.
    """
    loop = config.get('train_cfg')
    if loop is None:
        raise InputError(
            'finalists are trained by the schedule of the config, but it has '
            'no `train_cfg`'
        )
    name = 'max_epochs' if 'max_epochs' in loop else 'max_iters'
    length = max(round(loop[name] * share), 1)
    share = length / loop[name]
    loop[name] = length
    # Validated after the loop.
    loop.val_begin = loop.val_interval = length + 1
    return share


def shortened_scheduler(
    scheduler: Mapping, share: float, epoch_length: int
) -> dict:
    """Returns the settings of a scheduler of a shortened training."""
    settings = dict(scheduler)
    if settings.pop('convert_to_iter_based', False):
        settings['by_epoch'] = False
        share *= epoch_length
    for time in _TIMES:
        if settings.get(time) is not None:
            settings[time] = round(settings[time] * share)
    if settings.get('end') is not None:
        # MMEngine refuses an empty range.
        begin = settings.get('begin', 0)
        settings['end'] = max(settings['end'], begin + 1)
    if 'milestones' in settings:
        times = settings['milestones']
        settings['milestones'] = [round(time * share) for time in times]
    return settings


def train(
    config: Mapping, share: float, device: int | None
) -> Mapping[str, float]:
    """Trains a detector in this process and validates it.

    Args:
        config: The config of the training, with a shortened loop.
        share: Share to which the schedulers are shortened.
        device: Index of the GPU, if it is not the first.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # MMEngine writes the config into the work dir, with this name.
    config = Config(
        deepcopy(dict(config)), cfg_text='\n', filename='detector.py'
    )
    if config.get('custom_imports'):
        import_modules_from_strings(**config.custom_imports)
    if device is not None:
        torch.cuda.set_device(device)
    output = Path(config.work_dir) / 'output.log'
    with (
        open(output, 'a') as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        runner = Runner.from_cfg(config)
        schedulers = runner.param_schedulers or []
        if isinstance(schedulers, Mapping):
            schedulers = [schedulers]
        epoch_length = len(runner.train_loop.dataloader)
        runner.param_schedulers = [
            shortened_scheduler(scheduler, share, epoch_length)
            for scheduler in schedulers
        ]
        use_exact_metrics(runner.val_loop.evaluator)
        runner.train()
        metrics = runner.val_loop.run()
        if metrics and config.get('test_cfg'):
            use_exact_metrics(runner.test_loop.evaluator)
            test = runner.test_loop.run()
            # No metrics: nothing was predicted.
            metrics |= {TEST + key: test.get(key, 0.0) for key in metrics}
    return {
        key: float(value)
        for key, value in metrics.items()
        if isinstance(value, (int, float))
    }


def _end_with_parent() -> None:
    """Ends this process with its parent: another search may resume it.

    A worker of a pool would wait for a killed parent without end.
    """
    multiprocessing.parent_process().join()
    os._exit(1)
