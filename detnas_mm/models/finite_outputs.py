"""Numbers that a model must give before it is worth a validation."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from detnas_mm.utils.errors import InputError


def require_finite(outputs: Any) -> None:
    """Makes sure that a path computes numbers; asks the device only once.

    Args:
        outputs: Losses by name, or what the heads gave.

    Raises:
        InputError: If a loss or an output is not finite; a BN layer's
            statistics are then not, either.
    """
    if isinstance(outputs, Mapping):
        named = {key: one for key, one in outputs.items() if 'loss' in key}
    else:
        named = {'an output of the heads': outputs}
    extremes = {
        name: [end for one in _tensors(value) for end in one.aminmax()]
        for name, value in named.items()
    }
    if _are_finite([end for ends in extremes.values() for end in ends]):
        return
    name = next(key for key, ends in extremes.items() if not _are_finite(ends))
    wrong = [float(end) for end in extremes[name]]
    value = next(end for end in wrong if not math.isfinite(end))
    raise InputError(f'{name} is {value} on the images of the BN statistics')


def _are_finite(values: list[Tensor]) -> bool:
    if not values:
        return True
    stacked = torch.stack([value.float() for value in values])
    return bool(stacked.isfinite().all())


def _tensors(value: Any) -> Iterator[Tensor]:
    if torch.is_tensor(value):
        if value.numel():
            yield value.detach()
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _tensors(one)
