"""Less memory in training: a block runs again in the backward pass."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch.utils.checkpoint
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def run_without_keeping(block: nn.Module, x: Tensor) -> Tensor:
    """Runs a block and keeps its input alone for the backward pass.

    There the block runs once more, without updating its BN statistics a
    second time.

    Args:
        block: The block.
        x: Its input.
    """
    return torch.utils.checkpoint.checkpoint(
        block,
        x,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), _unchanged_statistics(block)),
    )


@contextmanager
def _unchanged_statistics(block: nn.Module) -> Iterator[None]:
    """Lets the running statistics be what they are, to the last bit."""
    layers = [
        layer
        for layer in block.modules()
        if isinstance(layer, _BatchNorm) and layer.track_running_stats
    ]
    before = [
        (one.momentum, one.num_batches_tracked.clone()) for one in layers
    ]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, (momentum, count) in zip(layers, before, strict=True):
            layer.momentum = momentum
            layer.num_batches_tracked.copy_(count)
