"""Necks and heads of maskrcnn-benchmark under mmdet's names.

Both projects compute the same from the same weights, with three exceptions:
maskrcnn-benchmark has the background as class 0, mmdet as the last class;
its convolutions before BN have a bias, which is folded into BN; and it
encodes the boxes of RetinaNet with standard deviations.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from detnas_mm.models.converters.foreign import Layer
from detnas_mm.utils.errors import InputError

# Divisors of RetinaNet's box deltas in maskrcnn-benchmark; 1 in mmdet.
_RETINA_STDS = (0.1, 0.1, 0.2, 0.2)
_FPN = re.compile(r'(?:backbone\.)?fpn\.(.+)')
_ANCHORS = 'rpn.anchor_generator.cell_anchors'
_BOX = 'roi_heads.box'
_BOX_FEATURES = f'{_BOX}.feature_extractor'


def convert_heads(layers: Mapping[str, Layer]) -> dict[str, Tensor]:
    """Rename neck and heads of Faster R-CNN or RetinaNet."""
    source = _Layers(layers)
    source.left.pop(_ANCHORS, None)
    state = _fpn(source)
    if source.numbers('rpn.head.cls_tower.'):
        state |= _retina_head(source)
    else:
        state |= source.rename('rpn.head.conv', 'rpn_head.rpn_conv')
        state |= source.rename('rpn.head.cls_logits', 'rpn_head.rpn_cls')
        state |= source.rename('rpn.head.bbox_pred', 'rpn_head.rpn_reg')
        state |= _box_head(source)
    if source.left:
        raise InputError(
            f'it has a layer {min(source.left)!r}, which neither Faster '
            'R-CNN nor RetinaNet of maskrcnn-benchmark has'
        )
    return state


class _Layers:
    """Layers that have not been renamed yet."""

    def __init__(self, layers: Mapping[str, Layer]) -> None:
        self.left = {}
        for name, layer in layers.items():
            fpn = _FPN.fullmatch(name)
            self.left[f'fpn.{fpn[1]}' if fpn else name] = layer

    def numbers(self, name: str) -> list[int]:
        """Return the numbers that follow a prefix of names, in order."""
        number = re.compile(re.escape(name) + r'(\d+)(?:\.\d+)?')
        matches = map(number.fullmatch, self.left)
        return sorted({int(match[1]) for match in matches if match})

    def rename(
        self,
        theirs: str,
        ours: str,
        change: Callable[[Tensor], Tensor] = lambda rows: rows,
    ) -> dict[str, Tensor]:
        """Take one layer, and change the rows of its weight and bias."""
        return self._take(theirs).mapped(change).named(ours)

    def rename_conv(self, theirs: str, ours: str) -> dict[str, Tensor]:
        """Take a convolution with or without BN, as a ConvModule."""
        return _conv_module(ours, self._take_sequence(theirs))

    def rename_convs(self, theirs: str, ours: str) -> dict[str, Tensor]:
        """Take convolutions, each with or without BN, as ConvModules."""
        groups = []
        for layer in self._take_sequence(theirs):
            if layer.is_norm and groups:
                groups[-1].append(layer)
            else:
                groups.append([layer])
        state = {}
        for index, layers in enumerate(groups):
            state |= _conv_module(f'{ours}.{index}', layers)
        return state

    def _take_sequence(self, name: str) -> list[Layer]:
        if name in self.left:
            return [self.left.pop(name)]
        names = [f'{name}.{number}' for number in self.numbers(f'{name}.')]
        return list(map(self._take, names or [name]))

    def _take(self, name: str) -> Layer:
        if name not in self.left:
            raise InputError(
                f'it has no layer {name!r}, which detectors of '
                "maskrcnn-benchmark with the authors' heads have"
            )
        return self.left.pop(name)


def _conv_module(name: str, layers: Sequence[Layer]) -> dict[str, Tensor]:
    """Name a convolution, and a BN that may follow it, as a ConvModule."""
    conv, *norms = layers
    if conv.is_norm or len(norms) > 1 or not all(n.is_norm for n in norms):
        raise InputError(
            f'it has {layers[-1].name!r} where a convolution with at most '
            'one BN was expected'
        )
    if not norms:
        return conv.named(f'{name}.conv', bias=True)
    # BN subtracts the mean of its input, so the bias can move into the mean.
    mean = norms[0].tensors['running_mean'] - conv.tensors.get('bias', 0)
    return {
        f'{name}.conv.weight': conv.weight,
        **norms[0].named(f'{name}.bn'),
        f'{name}.bn.running_mean': mean,
    }


def _fpn(source: _Layers) -> dict[str, Tensor]:
    state = {}
    levels = source.numbers('fpn.fpn_inner')
    # RetinaNet's FPN begins at the second stage, and its numbers at 2.
    for index, level in enumerate(levels):
        for theirs, ours in (('inner', 'lateral'), ('layer', 'fpn')):
            state |= source.rename_conv(
                f'fpn.fpn_{theirs}{level}', f'neck.{ours}_convs.{index}'
            )
    extra_levels = source.numbers('fpn.top_blocks.p')
    for index, level in enumerate(extra_levels, len(levels)):
        state |= source.rename_conv(
            f'fpn.top_blocks.p{level}', f'neck.fpn_convs.{index}'
        )
    return state


def _box_head(source: _Layers) -> dict[str, Tensor]:
    ours = 'roi_head.bbox_head'
    state = {}
    if source.numbers(f'{_BOX_FEATURES}.xconvs.'):
        state |= source.rename_convs(
            f'{_BOX_FEATURES}.xconvs', f'{ours}.shared_convs'
        )
    for index, number in enumerate(source.numbers(f'{_BOX_FEATURES}.fc')):
        state |= source.rename(
            f'{_BOX_FEATURES}.fc{number}', f'{ours}.shared_fcs.{index}'
        )
    state |= source.rename(
        f'{_BOX}.predictor.cls_score',
        f'{ours}.fc_cls',
        lambda rows: rows.roll(-1, 0),
    )
    return state | source.rename(
        f'{_BOX}.predictor.bbox_pred', f'{ours}.fc_reg', lambda rows: rows[4:]
    )


def _retina_head(source: _Layers) -> dict[str, Tensor]:
    def scale(rows: Tensor) -> Tensor:
        stds = torch.tensor(_RETINA_STDS).repeat(len(rows) // 4)
        return rows * stds.view(-1, *[1] * (rows.dim() - 1))

    head = 'bbox_head'
    return (
        source.rename_convs('rpn.head.cls_tower', f'{head}.cls_convs')
        | source.rename_convs('rpn.head.bbox_tower', f'{head}.reg_convs')
        | source.rename('rpn.head.cls_logits', f'{head}.retina_cls')
        | source.rename('rpn.head.bbox_pred', f'{head}.retina_reg', scale)
    )
