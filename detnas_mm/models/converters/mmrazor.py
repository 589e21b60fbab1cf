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

from detnas_mm.models.backbones.mmrazor_blocks import MMRAZOR_CHOICES
from detnas_mm.models.converters.foreign import (
    ForeignBackbone,
    ForeignBlock,
    Place,
    collect_blocks,
    infer_search_space,
)
from detnas_mm.models.converters.layers import (
    Layer,
    group_layers,
    reorder_inputs,
)
from detnas_mm.utils.errors import InputError

_PREFIX = re.compile(r'(?:architecture\.)?(?:model\.)?')
_STEM = 'backbone.conv1'
# In the order of our digits.
_CHOICES = ('shuffle_3x3', 'shuffle_5x5', 'shuffle_7x7', 'shuffle_xception')
# `choices` until version 0.3, `_candidates` since 1.0.
_BLOCK_LAYER = re.compile(
    r'backbone\.layers\.(?P<stage>\d+)\.(?P<index>\d+)\.'
    r'(?:choices|_candidate_ops|_candidates)\.(?P<choice>\w+)\.'
    r'branch(?P<branch>[12])\.(?P<part>\d+)\.'
    r'(?:(?P<separable>depthwise|pointwise)_conv\.)?(?P<kind>conv|bn)'
)
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
    """Read a checkpoint of MMRazor.

    Returns:
        The backbone, and the weights of neck and heads under our names.

    Raises:
        InputError: If it has an unknown or missing layer.
    """
    layers = {
        _PREFIX.sub('', name, count=1): layer
        for name, layer in group_layers(state_dict).items()
    }
    blocks, rest = collect_blocks(layers, _locate, _CHOICES)
    try:
        stem = rest.pop(f'{_STEM}.conv'), rest.pop(f'{_STEM}.bn')
        space = infer_search_space(stem[0], blocks, MMRAZOR_CHOICES)
    except (KeyError, ValueError) as error:
        raise InputError(
            'it is no complete SearchableShuffleNetV2: expected '
            f'{_STEM}.conv, {_STEM}.bn and backbone.layers.0.0._candidates, '
            f'got {error}'
        ) from error
    blocks = _reorder_stages(blocks)
    head = _rename_rest(rest, space.stage_channels)
    return ForeignBackbone(stem, blocks, space, 'grouped'), head


def _locate(name: str) -> Place | None:
    match = _BLOCK_LAYER.fullmatch(name)
    if match is None:
        return None
    return Place(
        block=int(match['stage']) * _STAGE + int(match['index']),
        copy=match['choice'],
        choice=match['choice'],
        projection=match['branch'] == '1',
        rank=(
            int(match['part']),
            int(match['separable'] == 'pointwise'),
            int(match['kind'] == 'bn'),
        ),
    )


def _ordered(channels: int) -> Tensor:
    """Return the index in their stage output of each of our channels."""
    shuffled = torch.arange(channels).view(2, -1).t().reshape(-1)
    return shuffled.argsort()


def _reorder_stages(
    blocks: Sequence[Mapping[int, ForeignBlock]],
) -> list[dict[int, ForeignBlock]]:
    """Reorder the inputs of the first block of each stage but stage 1."""
    return [
        {
            digit: _reordered(block) if index and block.projection else block
            for digit, block in choices.items()
        }
        for index, choices in enumerate(blocks)
    ]


def _reordered(block: ForeignBlock) -> ForeignBlock:
    order = _ordered(len(block.projection[0].weight))
    return ForeignBlock(
        reorder_inputs(block.main, order),
        reorder_inputs(block.projection, order),
    )


def _rename_rest(
    layers: dict[str, Layer], stage_channels: Sequence[int]
) -> dict[str, Tensor]:
    """Rename the classifier, and reorder the inputs of the FPN.

    Their names are mmdet's and mmpretrain's already.

    Raises:
        InputError: If the stages lead to anything but FPN or a classifier.
    """
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
        if match and match[1] == 'conv':
            (layer,) = reorder_inputs([layer], _ordered(last))
            state |= layer.named('neck.layers.0', bias=True)
            continue
        if match:
            state |= layer.named('neck.layers.1')
            continue
        channels = reordered.get(name)
        if channels is not None and layer.weight.shape[1] == channels:
            (layer,) = reorder_inputs([layer], _ordered(channels))
        elif name.startswith(('backbone.', 'neck.')) and not _is_fpn(name):
            raise InputError(
                f'it has a layer {name!r}; expected an FPN or a classifier '
                'behind the backbone'
            )
        state |= layer.named(name)
    return state


def _is_fpn(name: str) -> bool:
    return name.startswith(('neck.lateral_convs.', 'neck.fpn_convs.'))
