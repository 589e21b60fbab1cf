"""Predictions that metrics can read, whatever the model computes in."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

_HALF = (torch.float16, torch.bfloat16)


@contextmanager
def float32_predictions(model: nn.Module) -> Iterator[None]:
    """Converts the predictions of a model to float32.

    Metrics turn predictions into NumPy arrays, which have no bfloat16. Other
    outputs than data samples, such as losses, are not converted.
    """
    handle = model.register_forward_hook(_convert)
    try:
        yield
    finally:
        handle.remove()


def _convert(_: nn.Module, __: tuple, output: object) -> None:
    if isinstance(output, list):
        for sample in output:
            if isinstance(sample, BaseDataElement):
                _to_float32(sample)


def _to_float32(element: BaseDataElement) -> None:
    for name, value in element.items():
        if isinstance(value, BaseDataElement):
            _to_float32(value)
        elif isinstance(value, Tensor) and value.dtype in _HALF:
            element.set_field(value.float(), name)
