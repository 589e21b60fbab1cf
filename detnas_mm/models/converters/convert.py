"""Conversion of weights of other implementations of DetNAS."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from detnas_mm.models.backbones.detnas_net import DetNASNet
from detnas_mm.models.backbones.detnas_supernet import DetNASSupernet
from detnas_mm.models.checkpoint import load_state_dict, require_matching_keys
from detnas_mm.models.converters.authors import is_of_authors, read_authors
from detnas_mm.models.converters.foreign import Branches, ForeignBackbone
from detnas_mm.models.converters.mmrazor import is_of_mmrazor, read_mmrazor
from detnas_mm.models.converters.spos import is_of_spos, read_spos
from detnas_mm.structures import SearchSpace, space_name
from detnas_mm.utils.errors import InputError

_PREFIX = 'backbone.'


@dataclass(frozen=True)
class ConvertedCheckpoint:
    """A checkpoint in our layout."""

    state_dict: Mapping[str, Tensor]
    search_space: SearchSpace
    path: str | None  # digits; None for a supernet
    shuffle: str
    layout: str  # original layout: 'authors', 'mmrazor' or 'spos'

    @property
    def backbone_cfg(self) -> dict:
        """Config of the backbone that the weights fit."""
        space = space_name(self.search_space) or self.search_space.to_dict()
        cfg = dict(type='detnas_mm.DetNASSupernet', search_space=space)
        if self.path is not None:
            cfg.update(type='detnas_mm.DetNASNet', path=self.path)
        return cfg | dict(shuffle=self.shuffle)

    def to_checkpoint(self) -> dict:
        """Return the content of the checkpoint file."""
        meta = {
            'search_space': self.search_space.to_dict(),
            'path': self.path,
            'shuffle': self.shuffle,
            'converted_from': self.layout,
        }
        return {'meta': meta, 'state_dict': dict(self.state_dict)}


def convert_checkpoint(
    file: str | os.PathLike,
    shuffle: str | None = None,
    fold_stem_bias: bool = False,
) -> ConvertedCheckpoint:
    """Convert a checkpoint of the authors, of MMRazor or of SPOS.

    Args:
        file: Their file: ``.pth``, or ``.pkl`` of tensors or numpy arrays.
        shuffle: Channel shuffle of the authors' net. Defaults to the one in
            their code: ``'grouped'`` in supernets, ``'interleaved'`` in final
            nets and in SPOS.
        fold_stem_bias: Whether to move the bias of the stem into its BN,
            for a comparison with stems that have none. The bias is zero then.
    """
    state_dict = load_state_dict(file)
    try:
        if is_of_authors(state_dict):
            layout, (backbone, head) = 'authors', read_authors(state_dict)
        elif is_of_mmrazor(state_dict):
            layout, (backbone, head) = 'mmrazor', read_mmrazor(state_dict)
        elif is_of_spos(state_dict):
            layout, (backbone, head) = 'spos', read_spos(state_dict)
        else:
            raise InputError(
                'it has none of first_conv.conv.weight (the authors), '
                'backbone.layers.0.0._candidates.* (MMRazor) and '
                'features.0.0.branch_main.* (SPOS), but '
                f'{", ".join(list(state_dict)[:3])}'
            )
        if layout == 'mmrazor' and shuffle not in (None, 'grouped'):
            raise InputError(
                f'`shuffle` of MMRazor is grouped, got {shuffle!r}'
            )
        if shuffle is None:
            # SPOS and final nets of the authors shuffle in another way.
            is_final = layout == 'authors' and backbone.path is not None
            is_other = is_final or layout == 'spos'
            shuffle = 'interleaved' if is_other else 'grouped'
        net = _build_on_meta(backbone, shuffle)
        weights = dict(_backbone_weights(backbone, net))
    except InputError as error:
        raise InputError(f'{file} cannot be converted: {error}') from error
    require_matching_keys(net, weights, str(file))
    if fold_stem_bias:
        bias = weights['stem.0.bias']
        weights['stem.1.running_mean'] = weights['stem.1.running_mean'] - bias
        weights['stem.0.bias'] = torch.zeros_like(bias)
    path = backbone.path
    return ConvertedCheckpoint(
        {_PREFIX + key: value for key, value in weights.items()} | head,
        backbone.search_space,
        None if path is None else backbone.search_space.format(path),
        shuffle,
        layout,
    )


def _build_on_meta(
    backbone: ForeignBackbone, shuffle: str
) -> DetNASNet | DetNASSupernet:
    space = backbone.search_space
    settings = dict(
        search_space=space,
        shuffle=shuffle,
        out_indices=range(len(space.stage_blocks)),
    )
    with torch.device('meta'):
        if backbone.path is None:
            return DetNASSupernet(**settings)
        return DetNASNet(backbone.path, **settings)


def _backbone_weights(
    backbone: ForeignBackbone, net: DetNASNet | DetNASSupernet
) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights by our names; layers correspond by their order."""
    for layer, name in zip(backbone.stem, ('stem.0', 'stem.1'), strict=True):
        yield from layer.named(name, bias=True).items()
    for index, choices in enumerate(backbone.blocks):
        for digit, block in choices.items():
            ours = net.blocks[index]
            prefix = f'blocks.{index}'
            if backbone.path is None:
                ours, prefix = ours[digit], f'{prefix}.{digit}'
            yield from _block_weights(block, ours, prefix)


def _block_weights(
    theirs: Branches, ours: nn.Module, prefix: str
) -> Iterator[tuple[str, Tensor]]:
    for branch, layers in theirs.items():
        modules = getattr(ours, branch, nn.Sequential()).named_children()
        names = [
            f'{prefix}.{branch}.{name}'
            for name, layer in modules
            if isinstance(layer, (nn.Conv2d, _BatchNorm))
        ]
        if len(layers) != len(names):
            raise InputError(
                f'{prefix}.{branch} has {len(names)} convolutions and BN '
                f'here, but {len(layers)} in the checkpoint'
            )
        for layer, name in zip(layers, names, strict=True):
            yield from layer.named(name).items()
