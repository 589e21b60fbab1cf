"""Convolutions and batch normalizations of another project's state dict."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layer:
    """The tensors of one layer.

    Attributes:
        name: Name of the layer in its state dict.
        tensors: ``weight``, ``bias``, ``running_mean`` and so on.
    """

    name: str
    tensors: Mapping[str, Tensor]

    @property
    def is_norm(self) -> bool:
        """Whether it is a batch normalization."""
        return 'running_mean' in self.tensors

    @property
    def weight(self) -> Tensor:
        """The weight."""
        return self.tensors['weight']

    def changed(self, **tensors: Tensor) -> 'Layer':
        """Return the layer with other tensors."""
        return Layer(self.name, {**self.tensors, **tensors})

    def mapped(self, change: Callable[[Tensor], Tensor]) -> 'Layer':
        """Return the layer with every tensor changed."""
        tensors = {key: change(value) for key, value in self.tensors.items()}
        return Layer(self.name, tensors)

    def named(self, name: str, bias: bool = False) -> dict[str, Tensor]:
        """Return its part of a state dict under another name.

        Args:
            name: The name.
            bias: Whether to add a bias of zero if there is none.
        """
        tensors = dict(self.tensors)
        if self.is_norm:
            # Checkpoints before PyTorch 0.4.1 have no such counter.
            tensors.setdefault('num_batches_tracked', torch.tensor(0))
        elif bias:
            tensors.setdefault('bias', torch.zeros(len(self.weight)))
        return {f'{name}.{key}': value for key, value in tensors.items()}


def group_layers(state_dict: Mapping[str, Tensor]) -> dict[str, Layer]:
    """Group the tensors of a state dict by layer."""
    grouped: dict[str, dict[str, Tensor]] = {}
    for key, value in state_dict.items():
        name, _, tensor = key.rpartition('.')
        grouped.setdefault(name, {})[tensor] = value
    return {name: Layer(name, tensors) for name, tensors in grouped.items()}


def fold_bias(conv: Layer, norm: Layer) -> tuple[Layer, Layer]:
    """Move the bias of a convolution into the BN that follows it.

    BN subtracts the mean of its input, so the output stays the same; in
    training a bias before BN has no effect.
    """
    bias = conv.tensors.get('bias')
    if bias is None:
        return conv, norm
    mean = norm.tensors['running_mean'] - bias
    weight_only = Layer(conv.name, {'weight': conv.weight})
    return weight_only, norm.changed(running_mean=mean)


def reorder_inputs(layers: Sequence[Layer], order: Tensor) -> list[Layer]:
    """Reorder the input channels of a sequence of layers.

    Depthwise convolutions and BN keep the new order, up to the first
    convolution over all channels.

    Args:
        layers: The layers, in execution order.
        order: Old index of each channel of the new input.
    """
    layers = list(layers)
    for index, layer in enumerate(layers):
        if not layer.is_norm and layer.weight.shape[1] > 1:
            layers[index] = layer.changed(weight=layer.weight[:, order])
            return layers
        layers[index] = layer.mapped(
            lambda value: value[order] if value.dim() else value
        )
    return layers
