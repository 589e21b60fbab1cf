"""Count the work of a training step exactly, where times are too noisy."""

import cProfile
import pstats
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class Work:
    """The work of one call.

    Attributes:
        operators: Calls of tensor operators.
        values: Millions of values in the tensors that operators receive.
        python_calls: Calls of Python functions.
    """

    operators: int
    values: float
    python_calls: int


class _Operators(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.values = 0

    def __torch_dispatch__(
        self, operator: Callable, types: object, args=(), kwargs=None
    ) -> object:
        kwargs = kwargs or {}
        self.calls += 1
        self.values += sum(
            leaf.numel()
            for leaf in tree_leaves((args, kwargs))
            if torch.is_tensor(leaf)
        )
        return operator(*args, **kwargs)


def count_work(run: Callable[[], object]) -> Work:
    """Call a function twice and count its work."""
    profile = cProfile.Profile()
    profile.runcall(run)
    with _Operators() as operators:
        run()
    return Work(
        operators=operators.calls,
        values=operators.values / 1e6,
        python_calls=pstats.Stats(profile).total_calls,
    )
