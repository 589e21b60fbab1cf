"""Supernets of SPOS, from which DetNAS has its search space.

The backbone is ``first_conv.{0,1}`` and ``features.{block}.{choice}`` with
``branch_main.{i}`` and ``branch_proj.{i}`` in execution order. Convolutions
have no bias, and BN neither weight nor bias.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from detnas_mm.models.converters.foreign import (
    ForeignBackbone,
    Layer,
    Place,
    group_layers,
    read_backbone,
)
from detnas_mm.structures import SHUFFLE_CHOICES

_STEM = {'first_conv.0': 'first_conv.conv', 'first_conv.1': 'first_conv.bn'}
_HEAD = {
    'conv_last.0': 'neck.layers.0',
    'conv_last.1': 'neck.layers.1',
    'classifier.0': 'head.fc',
}
_LAYER = re.compile(r'features\.(\d+)\.(\d)\.branch_(main|proj)\.(\d+)')


def is_of_spos(state_dict: Mapping[str, Tensor]) -> bool:
    """Return whether a state dict has the layout of SPOS."""
    return any(_LAYER.match(key) for key in state_dict)


def read_spos(
    state_dict: Mapping[str, Tensor],
) -> tuple[ForeignBackbone, dict[str, Tensor]]:
    """Return the backbone, and the classifier under our names."""
    layers = {
        _STEM.get(name, name): _with_affine(layer)
        for name, layer in group_layers(state_dict).items()
    }
    backbone, rest = read_backbone(
        layers,
        _locate,
        description='supernet of SPOS with first_conv.0, first_conv.1 and '
        'features.0.0.branch_main',
        stem='first_conv',
        choices=('0', '1', '2', '3'),
        our_choices=SHUFFLE_CHOICES,
    )
    head = {}
    for name, ours in _HEAD.items():
        if name in rest:
            head |= rest[name].named(ours, bias=True)
    return backbone, head


def _locate(name: str) -> Place | None:
    match = _LAYER.fullmatch(name)
    if match is None:
        return None
    block, choice, branch, index = match.groups()
    branch = 'projection' if branch == 'proj' else 'main'
    return Place(int(block), choice, choice, branch, (int(index),))


def _with_affine(layer: Layer) -> Layer:
    """Return BN with the weight 1 and the bias 0."""
    if not layer.is_norm:
        return layer
    mean = layer.tensors['running_mean']
    affine = {'weight': torch.ones_like(mean), 'bias': torch.zeros_like(mean)}
    return Layer(layer.name, {**affine, **layer.tensors})
