"""Checkpoints of MMRazor's DetNAS: ``SearchableShuffleNetV2`` backbones.

Their blocks shuffle the output channels, ours the input channels. Between
blocks of stride 1 this is the same; the layers after a stage see the channels
in another order, so that their weights are reordered. Their stem has no bias,
and both branches of a block of stride 2 are equally wide.
"""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from detnas_mm.models.backbones.choice_blocks import MMRAZOR_CHOICES
from detnas_mm.models.converters.foreign import (
    ForeignBackbone,
    Layer,
    Place,
    group_layers,
    read_backbone,
)
from detnas_mm.utils.errors import InputError

_PREFIX = re.compile(r'(?:architecture\.)?(?:model\.)?')
# In the order of our digits.
_CHOICES = ('shuffle_3x3', 'shuffle_5x5', 'shuffle_7x7', 'shuffle_xception')
# `choices` until version 0.3, `_candidates` since 1.0.
_BLOCK_LAYER = re.compile(
    r'backbone\.layers\.(?P<stage>\d+)\.(?P<index>\d+)\.'
    r'(?:choices|_candidate_ops|_candidates)\.(?P<choice>\w+)\.'
    r'branch(?P<branch>[12])\.(?P<part>\d+)\.'
    r'(?:(?P<separable>depthwise|pointwise)_conv\.)?(?P<kind>conv|bn)'
)
_BEFORE_HEAD = ('backbone.', 'neck.')
_FPN = ('neck.lateral_convs.', 'neck.fpn_convs.')
_LAST_CONV = re.compile(r'backbone\.layers\.\d+\.(conv|bn)')
# More blocks than a stage has.
_STAGE = 1000


def is_of_mmrazor(state_dict: Mapping[str, Tensor]) -> bool:
    """Return whether a state dict has the layout of MMRazor's DetNAS."""
    return any(
        _BLOCK_LAYER.match(_PREFIX.sub('', key, count=1)) for key in state_dict
    )


def read_mmrazor(
    state_dict: Mapping[str, Tensor],
) -> tuple[ForeignBackbone, dict[str, Tensor]]:
    """Return the backbone, and neck and heads under our names."""
    layers = {
        _PREFIX.sub('', name, count=1): layer
        for name, layer in group_layers(state_dict).items()
    }
    backbone, rest = read_backbone(
        layers,
        _locate,
        description='SearchableShuffleNetV2 with backbone.conv1.conv, '
        'backbone.conv1.bn and backbone.layers.0.0._candidates',
        stem='backbone.conv1',
        choices=_CHOICES,
        our_choices=MMRAZOR_CHOICES,
    )
    # The first block of each stage but the first reads a stage's output.
    for choices in backbone.blocks[1:]:
        for branches in choices.values():
            if branches['projection']:
                channels = len(branches['projection'][0].weight)
                for branch, sequence in branches.items():
                    branches[branch] = _reorder_inputs(sequence, channels)
    channels = backbone.search_space.stage_channels
    return backbone, _rename_rest(rest, channels)


def _locate(name: str) -> Place | None:
    match = _BLOCK_LAYER.fullmatch(name)
    if match is None:
        return None
    return Place(
        block=int(match['stage']) * _STAGE + int(match['index']),
        copy=match['choice'],
        choice=match['choice'],
        branch='projection' if match['branch'] == '1' else 'main',
        rank=(
            int(match['part']),
            int(match['separable'] == 'pointwise'),
            int(match['kind'] == 'bn'),
        ),
    )


def _reorder_inputs(layers: Sequence[Layer], channels: int) -> list[Layer]:
    """Reorder the input channels of layers that read a stage's output.

    Depthwise convolutions and BN keep the new order, up to the first
    convolution over all channels.
    """
    layers = list(layers)
    shuffled = torch.arange(channels).view(2, -1).t().reshape(-1)
    # The index in their stage output of each of our channels.
    order = shuffled.argsort()
    for index, layer in enumerate(layers):
        if not layer.is_norm and layer.weight.shape[1] > 1:
            weight = layer.weight[:, order]
            layers[index] = Layer(
                layer.name, {**layer.tensors, 'weight': weight}
            )
            break
        layers[index] = layer.mapped(
            lambda value: value[order] if value.dim() else value
        )
    return layers


def _rename_rest(
    layers: dict[str, Layer], stage_channels: Sequence[int]
) -> dict[str, Tensor]:
    """Rename the classifier, and reorder the inputs of the FPN."""
    state = {}
    last = stage_channels[-1]
    laterals = [name for name in layers if 'neck.lateral_convs.' in name]
    num_laterals = len({name.split('.')[2] for name in laterals})
    reordered = {
        f'neck.lateral_convs.{index}.conv': channels
        for index, channels in enumerate(stage_channels[-num_laterals:])
    }
    # An additional level reads the last stage, or the output of the FPN.
    reordered[f'neck.fpn_convs.{num_laterals}.conv'] = last
    for name, layer in layers.items():
        match = _LAST_CONV.fullmatch(name)
        is_last = match is not None and match[1] == 'conv'
        channels = last if is_last else reordered.get(name)
        if channels is not None and layer.weight.shape[1] == channels:
            (layer,) = _reorder_inputs([layer], channels)
        if match:
            name = 'neck.layers.0' if is_last else 'neck.layers.1'
        elif name.startswith(_BEFORE_HEAD) and not name.startswith(_FPN):
            raise InputError(
                f'it has a layer {name!r}; expected an FPN or a classifier '
                'behind the backbone'
            )
        state |= layer.named(name, bias=match is not None)
    return state
