"""The model inside a distributed wrapper."""

from mmengine.model import is_model_wrapper
from torch import nn


def unwrap(model: nn.Module) -> nn.Module:
    """Returns the model itself where it is wrapped, say for DDP."""
    return model.module if is_model_wrapper(model) else model
