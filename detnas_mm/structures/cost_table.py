"""Additive costs of the choices of a search space."""

from dataclasses import dataclass

from detnas_mm.structures.search_space import ArchPath


@dataclass(frozen=True)
class Cost:
    """MACs and parameters of a part of a network."""

    macs: int
    params: int

    def __add__(self, other: 'Cost') -> 'Cost':
        return Cost(self.macs + other.macs, self.params + other.params)


@dataclass(frozen=True)
class CostTable:
    """Cost of the stem and of each choice of each block.

    Attributes:
        stem: Cost of the part that all paths have.
        blocks: Cost of each choice, by block. A choice that a block does not
            have costs as much as the first one that it has.
    """

    stem: Cost
    blocks: tuple[tuple[Cost, ...], ...]

    def macs(self, path: ArchPath) -> int:
        """Return the MACs of a path: one look-up per block."""
        chosen = zip(self.blocks, path, strict=True)
        return self.stem.macs + sum(row[choice].macs for row, choice in chosen)

    def params(self, path: ArchPath) -> int:
        """Return the number of parameters of a path."""
        rows = zip(self.blocks, path, strict=True)
        return self.stem.params + sum(
            row[choice].params for row, choice in rows
        )
