"""A state dict of another project as layers, blocks and a search space."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from detnas_mm.structures import ArchPath, SearchSpace
from detnas_mm.utils.errors import InputError


@dataclass(frozen=True)
class Layer:
    """The tensors of one convolution, linear layer or BN, by name."""

    name: str
    tensors: Mapping[str, Tensor]

    @property
    def is_norm(self) -> bool:
        """True for a batch normalization."""
        return 'running_mean' in self.tensors

    @property
    def weight(self) -> Tensor:
        """The weight."""
        return self.tensors['weight']

    def mapped(self, change: Callable[[Tensor], Tensor]) -> 'Layer':
        """Return the layer with every tensor changed."""
        tensors = {key: change(value) for key, value in self.tensors.items()}
        return Layer(self.name, tensors)

    def named(self, name: str, bias: bool = False) -> dict[str, Tensor]:
        """Return its part of a state dict under another name.

        With ``bias`` a bias of zero is added if there is none.
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


class Place(NamedTuple):
    """Place of a layer in a backbone."""

    block: int
    copy: str  # key of the choice in the checkpoint; '' if there is only one
    choice: str | None  # its name, if the layer's name contains it
    branch: str  # 'main' or 'projection'
    rank: tuple[int, ...]  # sort key of the layers of a branch


# Layers of a choice block by branch, in execution order.
Branches = Mapping[str, Sequence[Layer]]
# For each block, its choices by digit.
Blocks = Sequence[Mapping[int, Branches]]


@dataclass(frozen=True)
class ForeignBackbone:
    """A backbone of another project; ``stem`` is a convolution and its BN."""

    stem: tuple[Layer, Layer]
    blocks: Blocks
    search_space: SearchSpace

    @property
    def path(self) -> ArchPath | None:
        """The path, or ``None`` for a supernet."""
        if any(len(choices) > 1 for choices in self.blocks):
            return None
        return tuple(next(iter(choices)) for choices in self.blocks)


def read_backbone(
    layers: Mapping[str, Layer],
    locate: Callable[[str], Place | None],
    *,
    description: str,
    stem: str,
    choices: Sequence[str],
    our_choices: Sequence[str],
) -> tuple[ForeignBackbone, dict[str, Layer]]:
    """Return the backbone and the layers that are not part of it.

    Args:
        layers: Layers by name.
        locate: Returns the place of a layer in a block from its name.
        description: The backbone and the layers it must have, for errors.
        stem: Name of the stem, with the layers ``conv`` and ``bn``.
        choices: Their names of the choices, in the order of our digits.
        our_choices: Our names of the choices.
    """
    blocks, rest = _collect_blocks(layers, locate, choices)
    try:
        conv, norm = rest.pop(f'{stem}.conv'), rest.pop(f'{stem}.bn')
        space = _infer_search_space(conv, blocks, our_choices)
    except (KeyError, ValueError) as error:
        message = f'it has no complete {description}: {error}'
        raise InputError(message) from error
    return ForeignBackbone((conv, norm), blocks, space), rest


def _collect_blocks(
    layers: Mapping[str, Layer],
    locate: Callable[[str], Place | None],
    choices: Sequence[str],
) -> tuple[list[dict[int, Branches]], dict[str, Layer]]:
    """Sort layers into the blocks of a backbone, and the rest."""
    found: dict[int, dict[str, list[tuple[Place, Layer]]]] = {}
    rest = {}
    for name, layer in layers.items():
        place = locate(name)
        if place is None:
            rest[name] = layer
        else:
            copies = found.setdefault(place.block, {})
            copies.setdefault(place.copy, []).append((place, layer))
    blocks = [
        dict(_block(placed, choices) for placed in found[index].values())
        for index in sorted(found)
    ]
    counts = {len(digits) for digits in blocks}
    if blocks and counts not in ({1}, {len(choices)}):
        raise InputError(
            'the checkpoint has blocks of '
            f'{" and ".join(map(str, sorted(counts)))} choices; expected '
            f'either 1 (one path) or {len(choices)} (a supernet) everywhere'
        )
    return blocks, rest


def _block(
    placed: Sequence[tuple[Place, Layer]], choices: Sequence[str]
) -> tuple[int, Branches]:
    """Return the digit of a choice block, and its branches."""
    names = {place.choice for place, _ in placed} - {None}
    if len(names) != 1 or not names <= set(choices):
        raise InputError(
            f'block {placed[0][0].block} of the checkpoint has the choices '
            f'{", ".join(sorted(names)) or "none"}; expected one of '
            f'{", ".join(choices)}'
        )
    branches = {'main': [], 'projection': []}
    for place, layer in sorted(placed, key=lambda pair: pair[0].rank):
        branches[place.branch].append(layer)
    return choices.index(names.pop()), branches


def _infer_search_space(
    stem: Layer, blocks: Blocks, choices: Sequence[str]
) -> SearchSpace:
    """Infer widths and depths of a backbone from its weights."""
    channels, depths = [], []
    for digits in blocks:
        block = next(iter(digits.values()))
        if block['projection']:
            # The output is the concatenation of both branches.
            channels.append(sum(len(b[-1].weight) for b in block.values()))
            depths.append(1)
        elif depths:
            depths[-1] += 1
        else:
            raise InputError('no projection in block 0')
    return SearchSpace(
        len(stem.weight), tuple(channels), tuple(depths), tuple(choices)
    )
