"""What each of two processes does in the tests of distributed training."""

import os
import warnings
from unittest import mock

import torch
from mmengine.model import MMDistributedDataParallel
from torch import distributed, nn
from torch.distributed.nn.functional import all_reduce

from detnas_mm.compat import init_distributed, setup_compat
from detnas_mm.engine import BNRecalibrationHook, ChannelsLastHook
from detnas_mm.engine.hooks.gradient_averaging import average_taken_gradients
from detnas_mm.models import find_supernet
from kit.models import ToyClassifier, copies, randomized, supernet, toy_batch
from kit.spaces import FOUR_BLOCKS
from kit.toy_search import loader_config
from kit.toy_training import PathRecorder, UntakenWatch, training_runner

PATH = '0231'
OTHER_PATH = '0123'


def fixed_model(norm='BN'):
    """A model with the same weights in each process."""
    norm_cfg = dict(type=norm)
    return randomized(
        ToyClassifier(supernet(FOUR_BLOCKS, PATH, norm_cfg=norm_cfg))
    )


def statistics(model):
    """BN statistics, by name."""
    model = getattr(model, 'module', model)
    return {k: v for k, v in model.named_buffers() if 'running' in k}


def gradients(model, batch, train=False):
    """Gradients of one batch, by name.

    BN uses its running statistics, in training those of the batch.
    """
    model.train(train)
    model(**batch, mode='loss')['loss'].backward()
    model = getattr(model, 'module', model)
    return {
        name: param.grad
        for name, param in model.named_parameters()
        if param.grad is not None
    }


def set_environment(rank, port):
    """Sets what a launcher sets."""
    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE='2',
        LOCAL_RANK=str(rank),
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
    )
    torch.set_num_threads(1)
    setup_compat()


def train(rank, folder, port):
    set_environment(rank, port)
    config = dict(find_unused_parameters=True)
    init_distributed('pytorch', config)
    recorder, watch = PathRecorder(), UntakenWatch()
    runner = training_runner(
        f'{folder}/rank{rank}',
        recorder,
        watch,
        launcher='pytorch',
        cfg=config,
        # Without a seed the ranks agree on one.
        randomness=dict(seed=None),
    )
    runner.train()
    batch = toy_batch(2, seed=rank)
    trained = wrapped(fixed_model())
    result = dict(
        seed=runner.seed,
        paths=recorder.paths,
        changed_outside=watch.changed_outside,
        wrapped=type(runner.model).__name__,
        weights=copies(runner.model.module.state_dict()),
        recalibrated=recalibrated(runner),
        gradients=gradients(wrapped(fixed_model()), batch),
        train_gradients=gradients(trained, batch, train=True),
        statistics=statistics(trained),
        synchronized=synchronized(rank, torch.device('cpu')),
        registered=len(runner.model._comm_hooks),
        averaged={
            taken_only: averaged(rank, taken_only)
            for taken_only in (False, True)
        },
    )
    result.update(in_channels_last(runner, batch))
    torch.save(result, f'{folder}/rank{rank}.pth')
    distributed.destroy_process_group()


def in_channels_last(runner, batch):
    """Gradients in both memory formats, and the warnings."""
    find_supernet(runner.model).set_path(PATH)
    plain = copies(gradients(runner.model, batch))
    runner.model.zero_grad()
    ChannelsLastHook().before_run(runner)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        changed = copies(gradients(runner.model, batch))
    return dict(
        plain=plain,
        channels_last=changed,
        wrapped_again=type(runner.model).__name__,
        warnings=[str(warning.message) for warning in caught],
    )


def averaged(rank, taken_only):
    """Accumulates gradients of two iterations with different paths.

    Returns:
        The gradients, and how many values were sent.
    """
    model = wrapped(fixed_model())
    net = model.module.backbone
    if taken_only:
        average_taken_gradients(model, net)
    sent = []
    all_reduce = distributed.all_reduce

    def watched(tensor, **kwargs):
        sent.append(tensor.numel())
        return all_reduce(tensor, **kwargs)

    with mock.patch.object(distributed, 'all_reduce', watched):
        with model.no_sync():
            gradients(model, toy_batch(2, seed=rank + 2))
        net.set_path(OTHER_PATH)
        both = gradients(model, toy_batch(2, seed=rank))
    return dict(gradients=both, sent=sum(sent))


def wrapped(model, **settings):
    """Wraps a model as MMEngine does for training."""
    torch.manual_seed(0)
    return MMDistributedDataParallel(
        model, find_unused_parameters=True, **settings
    )


def recalibrated(runner):
    """Weights and statistics during a validation."""
    hook = BNRecalibrationHook(num_images=6)
    runner.cfg.train_dataloader = loader_config(noise=0.5)
    with find_supernet(runner.model).activate(PATH):
        hook.before_val(runner)
        return copies(runner.model.module.state_dict())


class NaiveSyncBN(nn.BatchNorm2d):
    """Synchronized BN for the CPU: statistics of the batches of all ranks."""

    def forward(self, inputs):
        sums = torch.stack([inputs, inputs.square()]).sum(dim=(1, 3, 4))
        count = (
            inputs.numel() // inputs.shape[1] * distributed.get_world_size()
        )
        mean, square = all_reduce(sums) / count
        var = square - mean.square()
        with torch.no_grad():
            unbiased = var * count / (count - 1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
        shape = (1, -1, 1, 1)
        scale = self.weight / (var + self.eps).sqrt()
        shift = self.bias - mean * scale
        return inputs * scale.view(shape) + shift.view(shape)


def synchronized(rank, device):
    """Trains one iteration with the BN statistics of both ranks' batches."""
    on_gpu = device.type == 'cuda'
    model = fixed_model('SyncBN' if on_gpu else 'BN').to(device)
    if not on_gpu:
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.__class__ = NaiveSyncBN
    trained = wrapped(model)
    batch = {k: v.to(device) for k, v in toy_batch(2, seed=rank).items()}
    return dict(
        gradients=gradients(trained, batch, train=True),
        statistics=statistics(trained),
    )


def train_on_gpus(rank, folder, port):
    """Trains one iteration with SyncBN, which needs GPUs."""
    set_environment(rank, port)
    torch.cuda.set_device(rank)
    distributed.init_process_group('nccl')
    result = synchronized(rank, torch.device('cuda', rank))
    torch.save(result, f'{folder}/rank{rank}.pth')
    distributed.destroy_process_group()
