"""Necks and heads of maskrcnn-benchmark, by mmdet's names.

The two projects compute the same from the same weights but for three things:
class 0 is the background there, and the last class here; there a convolution
before BN has a bias, which is folded into BN; and boxes of RetinaNet are
encoded with standard deviations there.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from detnas_mm.models.converters.layers import Layer, fold_bias
from detnas_mm.utils.errors import InputError

# What RetinaNet's box deltas are divided by there; mmdet's default is 1.
_RETINA_STDS = (0.1, 0.1, 0.2, 0.2)
_FPN = re.compile(r'(?:backbone\.)?fpn\.(.+)')
_ANCHORS = 'rpn.anchor_generator.cell_anchors'


class _Layers:
    """Layers that are taken out one by one."""

    def __init__(self, layers: Mapping[str, Layer]) -> None:
        self.left = {}
        for name, layer in layers.items():
            fpn = _FPN.fullmatch(name)
            self.left[f'fpn.{fpn[1]}' if fpn else name] = layer

    def take(self, name: str) -> list[Layer]:
        """Takes a layer, or those of a sequence, in execution order."""
        if name in self.left:
            return [self.left.pop(name)]
        index = re.compile(re.escape(name) + r'\.(\d+)')
        found = sorted(
            (int(match[1]), match[0])
            for match in map(index.fullmatch, self.left)
            if match
        )
        if not found:
            raise InputError(
                f'it has no layer {name!r}, which detectors of '
                "maskrcnn-benchmark with the authors' heads have"
            )
        return [self.left.pop(key) for _, key in found]

    def numbers(self, name: str) -> list[int]:
        """Returns the numbers that follow a name, in order."""
        number = re.compile(re.escape(name) + r'(\d+)(?:\.\d+)?')
        matches = map(number.fullmatch, self.left)
        return sorted({int(match[1]) for match in matches if match})


def convert_heads(layers: Mapping[str, Layer]) -> dict[str, Tensor]:
    """Renames neck and heads of Faster R-CNN or RetinaNet.

    Raises:
        InputError: If a layer is missing or unknown.
    """
    source = _Layers(layers)
    source.left.pop(_ANCHORS, None)
    state = _fpn(source)
    if source.numbers('rpn.head.cls_tower.'):
        state |= _retina_head(source)
    else:
        state |= _rpn_head(source) | _box_head(source)
    if source.left:
        raise InputError(
            f'it has a layer {min(source.left)!r}, which neither Faster '
            'R-CNN nor RetinaNet of maskrcnn-benchmark has'
        )
    return state


def _conv_module(name: str, layers: Sequence[Layer]) -> dict[str, Tensor]:
    """A convolution, and the BN that may follow it, as a ConvModule."""
    if len(layers) == 1:
        return layers[0].named(f'{name}.conv', bias=True)
    conv, norm = layers
    if not norm.is_norm:
        raise InputError(f'it has {norm.name!r} where a BN was expected')
    conv, norm = fold_bias(conv, norm)
    return conv.named(f'{name}.conv') | norm.named(f'{name}.bn')


def _conv_modules(name: str, layers: Sequence[Layer]) -> dict[str, Tensor]:
    """A sequence of convolutions, each with or without BN."""
    state = {}
    starts = [i for i, layer in enumerate(layers) if not layer.is_norm]
    for index, start in enumerate(starts):
        end = [*starts, len(layers)][index + 1]
        state |= _conv_module(f'{name}.{index}', layers[start:end])
    return state


def _fpn(source: _Layers) -> dict[str, Tensor]:
    state = {}
    levels = source.numbers('fpn.fpn_inner')
    # RetinaNet's FPN begins at the second stage, and its numbers at 2.
    for index, level in enumerate(levels):
        inner = source.take(f'fpn.fpn_inner{level}')
        outer = source.take(f'fpn.fpn_layer{level}')
        state |= _conv_module(f'neck.lateral_convs.{index}', inner)
        state |= _conv_module(f'neck.fpn_convs.{index}', outer)
    for index, level in enumerate(source.numbers('fpn.top_blocks.p')):
        extra = source.take(f'fpn.top_blocks.p{level}')
        name = f'neck.fpn_convs.{len(levels) + index}'
        state |= _conv_module(name, extra)
    return state


def _rpn_head(source: _Layers) -> dict[str, Tensor]:
    names = {
        'rpn.head.conv': 'rpn_head.rpn_conv',
        'rpn.head.cls_logits': 'rpn_head.rpn_cls',
        'rpn.head.bbox_pred': 'rpn_head.rpn_reg',
    }
    state = {}
    for theirs, ours in names.items():
        (layer,) = source.take(theirs)
        state |= layer.named(ours)
    return state


def _box_head(source: _Layers) -> dict[str, Tensor]:
    theirs, ours = 'roi_heads.box', 'roi_head.bbox_head'
    features = f'{theirs}.feature_extractor'
    state = {}
    if source.numbers(f'{features}.xconvs.'):
        convs = source.take(f'{features}.xconvs')
        state |= _conv_modules(f'{ours}.shared_convs', convs)
    for index, number in enumerate(source.numbers(f'{features}.fc')):
        (layer,) = source.take(f'{features}.fc{number}')
        state |= layer.named(f'{ours}.shared_fcs.{index}')
    (scores,) = source.take(f'{theirs}.predictor.cls_score')
    scores = _mapped(scores, lambda rows: rows.roll(-1, 0))
    (boxes,) = source.take(f'{theirs}.predictor.bbox_pred')
    boxes = _mapped(boxes, lambda rows: rows[4:])
    return (
        state | scores.named(f'{ours}.fc_cls') | boxes.named(f'{ours}.fc_reg')
    )


def _retina_head(source: _Layers) -> dict[str, Tensor]:
    head = 'bbox_head'
    cls_convs = source.take('rpn.head.cls_tower')
    reg_convs = source.take('rpn.head.bbox_tower')
    (scores,) = source.take('rpn.head.cls_logits')
    (boxes,) = source.take('rpn.head.bbox_pred')
    stds = torch.tensor(_RETINA_STDS).repeat(len(boxes.weight) // 4)
    boxes = _mapped(
        boxes, lambda rows: rows * stds.view(-1, *[1] * (rows.dim() - 1))
    )
    return (
        _conv_modules(f'{head}.cls_convs', cls_convs)
        | _conv_modules(f'{head}.reg_convs', reg_convs)
        | scores.named(f'{head}.retina_cls')
        | boxes.named(f'{head}.retina_reg')
    )


def _mapped(layer: Layer, change: Callable[[Tensor], Tensor]) -> Layer:
    """Changes the outputs of a layer: the rows of weight and bias."""
    tensors = {key: change(value) for key, value in layer.tensors.items()}
    return Layer(layer.name, tensors)
