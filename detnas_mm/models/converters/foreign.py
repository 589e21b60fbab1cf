"""The backbone of another project: its architecture and ordered layers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from detnas_mm.models.converters.layers import Layer
from detnas_mm.structures import ArchPath, SearchSpace
from detnas_mm.utils.errors import InputError


class Place(NamedTuple):
    """Place of a layer in a backbone.

    Attributes:
        block: Index of the block.
        copy: Key of the choice in the checkpoint; ``''`` in a block with one
            choice.
        choice: Name of the choice, if the layer's name contains it.
        projection: Whether it is in the projection, not in the main branch.
        rank: Sort key of the layers of a branch, in execution order.
    """

    block: int
    copy: str
    choice: str | None
    projection: bool
    rank: tuple[int, ...]


@dataclass(frozen=True)
class ForeignBlock:
    """Layers of a choice block, in execution order."""

    main: Sequence[Layer]
    projection: Sequence[Layer]


# For each block, its choices by digit.
Blocks = Sequence[Mapping[int, ForeignBlock]]


@dataclass(frozen=True)
class ForeignBackbone:
    """A backbone of another project; ``stem`` is a convolution and its BN."""

    stem: tuple[Layer, Layer]
    blocks: Blocks
    search_space: SearchSpace
    shuffle: str

    @property
    def path(self) -> ArchPath | None:
        """The path, or ``None`` for a supernet."""
        if any(len(choices) > 1 for choices in self.blocks):
            return None
        return tuple(next(iter(choices)) for choices in self.blocks)


def collect_blocks(
    layers: Mapping[str, Layer],
    locate: Callable[[str], Place | None],
    choices: Sequence[str],
) -> tuple[list[dict[int, ForeignBlock]], dict[str, Layer]]:
    """Sort layers into the blocks of a backbone, and the rest.

    Args:
        layers: Layers by name.
        locate: Returns the place of a layer in a block from its name.
        choices: The names of the choices, in the order of the digits.

    Raises:
        InputError: If they are neither one path nor a supernet.
    """
    found: dict[int, dict[str, list[tuple[Place, Layer]]]] = {}
    rest = {}
    for name, layer in layers.items():
        place = locate(name)
        if place is None:
            rest[name] = layer
            continue
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
) -> tuple[int, ForeignBlock]:
    """Return the digit of a choice block, and its layers in order."""
    names = {place.choice for place, _ in placed} - {None}
    if len(names) != 1 or not names <= set(choices):
        raise InputError(
            f'block {placed[0][0].block} of the checkpoint has the choices '
            f'{", ".join(sorted(names)) or "none"}; expected one of '
            f'{", ".join(choices)}'
        )
    branches = {False: [], True: []}
    for place, layer in sorted(placed, key=lambda pair: pair[0].rank):
        branches[place.projection].append(layer)
    block = ForeignBlock(branches[False], branches[True])
    return choices.index(names.pop()), block


def infer_search_space(
    stem: Layer, blocks: Blocks, choices: Sequence[str]
) -> SearchSpace:
    """Infer widths and depths of a backbone from its weights.

    Raises:
        InputError: If there is no such search space.
    """
    channels, depths = [], []
    for digits in blocks:
        block = next(iter(digits.values()))
        if block.projection:
            outputs = block.main[-1].weight, block.projection[-1].weight
            channels.append(sum(map(len, outputs)))
            depths.append(1)
        elif depths:
            depths[-1] += 1
        else:
            raise InputError('no projection in block 0')
    return SearchSpace(
        len(stem.weight), tuple(channels), tuple(depths), tuple(choices)
    )
