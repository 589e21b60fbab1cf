"""A foreign backbone: which network it is, and its layers in order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from detnas_mm.models.converters.layers import Layer
from detnas_mm.structures import ArchPath, SearchSpace
from detnas_mm.utils.errors import InputError


class Place(NamedTuple):
    """Where a layer stands in a backbone.

    Attributes:
        block: Index of the block.
        copy: Which of the block's choices, in the words of the checkpoint;
            ``''`` where it has only one.
        choice: Name of the choice, if the layer's name tells it.
        projection: Whether it is in the projection, not in the main branch.
        rank: Sorts the layers of a branch by execution.
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


@dataclass(frozen=True)
class ForeignBackbone:
    """A backbone of another project.

    Attributes:
        stem: Convolution and BN of the stem.
        blocks: For each block, its choices by digit.
        search_space: The search space it is of.
        shuffle: Channel shuffle of stride-1 blocks.
    """

    stem: tuple[Layer, Layer]
    blocks: Sequence[Mapping[int, ForeignBlock]]
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
    """Sorts layers into the blocks of a backbone.

    Args:
        layers: Layers by name.
        locate: Says from its name where a layer stands, if in a block.
        choices: The names of the choices, in the order of the digits.

    Returns:
        For each block its choices by digit; and all layers that are in none.

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
    if list(found) and counts not in ({1}, {len(choices)}):
        raise InputError(
            'the checkpoint has blocks of '
            f'{" and ".join(map(str, sorted(counts)))} choices; expected '
            f'either 1 (one path) or {len(choices)} (a supernet) everywhere'
        )
    return blocks, rest


def _block(
    placed: Sequence[tuple[Place, Layer]], choices: Sequence[str]
) -> tuple[int, ForeignBlock]:
    """Returns the digit of a choice block, and its layers in order."""
    names = {place.choice for place, _ in placed} - {None}
    if len(names) != 1 or not names <= set(choices):
        raise InputError(
            f'block {placed[0][0].block} of the checkpoint has the choices '
            f'{", ".join(sorted(names)) or "none"}; expected one of '
            f'{", ".join(choices)}'
        )
    branches = {False: [], True: []}
    for place, layer in sorted(placed, key=lambda one: one[0].rank):
        branches[place.projection].append(layer)
    return choices.index(names.pop()), ForeignBlock(
        branches[False], branches[True]
    )


def infer_search_space(
    stem: Layer,
    blocks: Sequence[Mapping[int, ForeignBlock]],
    choices: Sequence[str],
) -> SearchSpace:
    """Reads the widths and depths of a backbone off its weights.

    Args:
        stem: Convolution of the stem.
        blocks: For each block its choices by digit.
        choices: Our names of the choices.

    Raises:
        InputError: If there is no such search space.
    """
    channels, depths = [], []
    for digits in blocks:
        block = next(iter(digits.values()))
        if not block.projection:
            if not depths:
                raise InputError('no projection in block 0')
            depths[-1] += 1
            continue
        channels.append(
            len(block.main[-1].weight) + len(block.projection[-1].weight)
        )
        depths.append(1)
    return SearchSpace(
        len(stem.weight), tuple(channels), tuple(depths), tuple(choices)
    )
