"""Predictions of mixed precision, as metrics can read them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

_HALF = (torch.float16, torch.bfloat16)


@contextmanager
def float32_predictions(model: nn.Module) -> Iterator[None]:
    """Lets a model predict in float32 whatever it computes in.

    Metrics turn predictions into arrays of numpy, which knows no bfloat16.

    Args:
        model: Gives data samples when it predicts; what else it gives, such
            as losses, stays as it is.
    """
    handle = model.register_forward_hook(_convert)
    try:
        yield
    finally:
        handle.remove()


def _convert(_: nn.Module, __: tuple, output: object) -> None:
    if isinstance(output, list):
        for one in output:
            if isinstance(one, BaseDataElement):
                _to_float32(one)


def _to_float32(element: BaseDataElement) -> None:
    for name, value in element.items():
        if isinstance(value, BaseDataElement):
            _to_float32(value)
        elif isinstance(value, Tensor) and value.dtype in _HALF:
            element.set_field(value.float(), name)
