"""Gradients of several processes, without those of the untaken choices."""

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from detnas_mm.models import DetNASSupernet


def average_taken_gradients(
    model: DistributedDataParallel, supernet: DetNASSupernet
) -> None:
    """Leaves the choices that a path does not take out of the exchange.

    By itself ``DistributedDataParallel`` averages zeros for parameters that
    have no gradient, so that an iteration takes longer the more choices there
    are. All processes must train the same path. A hook for the exchange that
    the model already has stays in its place.
    """
    if model._comm_hooks:
        return
    choices = frozenset(id(param) for param in supernet.blocks.parameters())
    model.register_comm_hook((choices, model.process_group), _average)


def _average(
    state: tuple[frozenset[int], distributed.ProcessGroup],
    bucket: distributed.GradBucket,
) -> torch.futures.Future[torch.Tensor]:
    """Exchanges a bucket, by identities of all choices' parameters."""
    choices, group = state
    buffer = bucket.buffer()
    # Other parameters may have a gradient in another process alone.
    taken = [
        gradient
        for parameter, gradient in zip(
            bucket.parameters(), bucket.gradients(), strict=True
        )
        if parameter.grad is not None or id(parameter) not in choices
    ]
    # The hook must return a future: send one element if no gradient was taken.
    taken = taken or [buffer[:1]]
    flat = torch.cat([gradient.reshape(-1) for gradient in taken])
    flat /= group.size()

    def write(future: torch.futures.Future) -> torch.Tensor:
        sizes = [gradient.numel() for gradient in taken]
        parts = future.value()[0].split(sizes)
        for gradient, part in zip(taken, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))
        return buffer

    work = distributed.all_reduce(flat, group=group, async_op=True)
    return work.get_future().then(write)
