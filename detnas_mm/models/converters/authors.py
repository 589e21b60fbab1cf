"""Checkpoints of the authors' code: ImageNet nets, detectors, supernets.

Their backbone is ``first_conv`` and ``features.{block}`` (in a supernet
``features.{block}.{choice}``). The names of layers contain the name of the
block. In the first block of stage 1, ``interstellar1a_..._branch2b_s`` is the
depthwise convolution of the second part of the main branch, ``..._s_bn`` its
BN, ``interstellar1a_..._branch2b`` the pointwise convolution, and
``bn1a_..._branch2b`` the BN of the pointwise convolution.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from detnas_mm.models.converters.foreign import (
    ForeignBackbone,
    Layer,
    Place,
    group_layers,
    read_backbone,
)
from detnas_mm.models.converters.maskrcnn_heads import convert_heads
from detnas_mm.structures import SHUFFLE_CHOICES
from detnas_mm.utils.errors import InputError

_STEM_KEY = 'first_conv.conv.weight'
# In the order of our digits.
_CHOICES = (
    'shufflenet_3x3',
    'shufflenet_5x5',
    'shufflenet_7x7',
    'xception_3x3',
)
_HEAD = {
    'last_conv.conv': 'neck.layers.0',
    'last_conv.bn': 'neck.layers.1',
    'fc.fc': 'head.fc',
}
_BLOCK_LAYER = re.compile(
    r'features\.(?P<block>\d+)\.(?:(?P<copy>\d+)\.)?'
    r'(?:conv\.(?P<part>\d+)|proj_conv)\.'
    r'(?P<kind>interstellar|bn)\d+[a-z]_'
    r'(?:(?P<choice>\w+?)_branch2[a-z]|proj)(?P<spatial>_s(?:_bn)?)?'
)


def is_of_authors(state_dict: Mapping[str, Tensor]) -> bool:
    """Return whether a state dict has the layout of the authors' code."""
    return any(key.endswith(_STEM_KEY) for key in state_dict)


def read_authors(
    state_dict: Mapping[str, Tensor],
) -> tuple[ForeignBackbone, dict[str, Tensor]]:
    """Return the backbone, and neck and heads under our names."""
    stem_key = next(key for key in state_dict if key.endswith(_STEM_KEY))
    prefix = stem_key.removesuffix(_STEM_KEY)
    backbone, detector = {}, {}
    for name, layer in group_layers(state_dict).items():
        if name.startswith(prefix) and not name.startswith(f'{prefix}fpn.'):
            backbone[name.removeprefix(prefix)] = layer
        else:
            detector[name] = layer
    read, rest = read_backbone(
        backbone,
        _locate,
        description="backbone of the authors' code with first_conv.conv, "
        'first_conv.bn and features.0.conv.0.interstellar1a_...',
        stem='first_conv',
        choices=_CHOICES,
        our_choices=SHUFFLE_CHOICES,
    )
    # In a detector the backbone's names have a prefix.
    convert = convert_heads if prefix else _classification_head
    return read, convert(rest | detector)


def _locate(name: str) -> Place | None:
    match = _BLOCK_LAYER.fullmatch(name)
    if match is None:
        return None
    spatial = {'_s': 0, '_s_bn': 1}
    last = {'interstellar': 2, 'bn': 3}
    rank = spatial.get(match['spatial'], last[match['kind']])
    return Place(
        block=int(match['block']),
        copy=match['copy'] or '',
        choice=match['choice'],
        branch='projection' if match['part'] is None else 'main',
        rank=(int(match['part'] or 0), rank),
    )


def _classification_head(layers: dict[str, Layer]) -> dict[str, Tensor]:
    """Rename the 1x1 convolution and the classifier, if there are any."""
    head = {}
    for name, layer in layers.items():
        if name not in _HEAD:
            raise InputError(
                f'it has a layer {name!r}; an ImageNet net of the authors '
                f'has, beside the backbone, {", ".join(_HEAD)}'
            )
        head |= layer.named(_HEAD[name], bias=True)
    return head
