"""Short trainings of a toy classifier, and hooks that watch them."""

import itertools

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from detnas_mm.engine import SinglePathSamplingHook
from detnas_mm.models import find_supernet
from kit.models import ToyClassifier, randomized, supernet
from kit.spaces import FOUR_BLOCKS
from kit.toy_search import loader_config

_run_number = itertools.count()


class PathRecorder(Hook):
    """Keeps the path of each iteration."""

    priority = 'LOW'

    def __init__(self):
        self.paths = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.paths.append(find_supernet(runner.model).path)


class UntakenWatch(Hook):
    """Keeps which tensors an iteration changed outside its path, and in it.

    Compared bit for bit are weights, BN statistics and the momentum of SGD.
    """

    priority = 'LOW'

    def __init__(self):
        self.changed_outside = []
        self.changed_inside = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.before = tensors(runner)

    def after_train_iter(
        self, runner, batch_idx, data_batch=None, outputs=None
    ):
        net = find_supernet(runner.model)
        taken = {f'{i}.{choice}.' for i, choice in enumerate(net.path)}
        after = tensors(runner)
        outside, inside = set(), set()
        for key, value in after.items():
            before = self.before.get(key)
            if before is not None and torch.equal(before, value):
                continue
            part = key.partition('blocks.')[2]
            belongs = not part or any(map(part.startswith, taken))
            (inside if belongs else outside).add(key)
        self.changed_outside.append(outside)
        self.changed_inside.append(inside)


def tensors(runner):
    """All that training may change, by name."""
    model = getattr(runner.model, 'module', runner.model)
    found = {k: v.clone() for k, v in model.state_dict().items()}
    state = runner.optim_wrapper.optimizer.state
    for name, param in model.named_parameters():
        momentum = state.get(param, {}).get('momentum_buffer')
        if momentum is not None:
            found[f'momentum of {name}'] = momentum.clone()
    return found


def training_runner(
    work_dir, *hooks, iterations=6, seed=0, model=None, **settings
):
    """The Runner of a training with path sampling."""
    number = next(_run_number)
    options = dict(
        custom_hooks=[SinglePathSamplingHook(), *hooks],
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=3)
        ),
        randomness=dict(seed=seed),
        optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.1)
        ),
    )
    loader = loader_config()
    loader['batch_size'] = 2
    loader['sampler'] = dict(type='InfiniteSampler', shuffle=True)
    return Runner(
        model or randomized(ToyClassifier(supernet(FOUR_BLOCKS))),
        work_dir=str(work_dir),
        train_dataloader=loader,
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=iterations),
        experiment_name=f'training{number}',
        log_level='WARNING',
        log_processor=dict(by_epoch=False),
        **(options | settings),
    )
