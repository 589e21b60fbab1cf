"""What each of two processes does in the test of distributed training."""

import os

import torch
from kit.models import ToyClassifier, randomized, supernet, toy_batch
from kit.spaces import FOUR_BLOCKS
from mmengine.model import MMDistributedDataParallel
from toy_training import PathRecorder, UntakenWatch, training_runner

from detnas_mm.compat import init_distributed, setup_compat

PATH = '0231'


def fixed_model():
    """The same weights in each process."""
    return randomized(ToyClassifier(supernet(FOUR_BLOCKS, PATH)))


def gradients(model, batch):
    """Gradients of one batch, by name; BN with its own statistics."""
    model.eval()
    model(**batch, mode='loss')['loss'].backward()
    model = getattr(model, 'module', model)
    return {
        name: param.grad
        for name, param in model.named_parameters()
        if param.grad is not None
    }


def train(rank, folder, port):
    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE='2',
        LOCAL_RANK=str(rank),
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
    )
    torch.set_num_threads(1)
    setup_compat()
    config = dict(find_unused_parameters=True)
    init_distributed('pytorch', config)
    recorder, watch = PathRecorder(), UntakenWatch()
    runner = training_runner(
        f'{folder}/rank{rank}',
        recorder,
        watch,
        launcher='pytorch',
        cfg=config,
        # Ranks agree on a seed that nobody gave.
        randomness=dict(seed=None),
    )
    runner.train()

    torch.manual_seed(0)
    wrapped = MMDistributedDataParallel(
        fixed_model(),
        find_unused_parameters=True,
    )
    result = dict(
        seed=runner.seed,
        paths=recorder.paths,
        changed_outside=watch.changed_outside,
        wrapped=type(runner.model).__name__,
        weights=dict(runner.model.module.named_parameters()),
        gradients=gradients(wrapped, toy_batch(2, seed=rank)),
    )
    torch.save(result, f'{folder}/rank{rank}.pth')
    torch.distributed.destroy_process_group()
