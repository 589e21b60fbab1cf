"""Mixed precision: its type, and predictions that metrics can read."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from detnas_mm.utils.errors import InputError

_TYPES = {'float16': torch.float16, 'bfloat16': torch.bfloat16}
_HALF = tuple(_TYPES.values())


def require_precision(fp16: bool | str, device: str) -> None:
    """Checks the mixed precision that is asked for.

    Args:
        fp16: Whether there is any, or its type.
        device: The type of the device.

    Raises:
        InputError: If there is no such type, or not on the device.
    """
    types = ['bfloat16'] if device == 'cpu' else list(_TYPES)
    if isinstance(fp16, str) and fp16 not in types:
        raise InputError(
            f'mixed precision on {device} is one of {", ".join(types)}, got '
            f'{fp16!r}'
        )


@contextmanager
def autocast_type(fp16: bool | str, device: str) -> Iterator[None]:
    """Sets the type that autocast takes where none is given.

    MMEngine's validation gives none.

    Args:
        fp16: The type, or anything else to leave it as it is.
        device: The type of the device.
    """
    if not isinstance(fp16, str):
        yield
        return
    before = torch.get_autocast_dtype(device)
    torch.set_autocast_dtype(device, _TYPES[fp16])
    try:
        yield
    finally:
        torch.set_autocast_dtype(device, before)


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
