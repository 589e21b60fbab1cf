"""Evaluation of paths that the user lists."""

from collections.abc import Sequence

from detnas_mm.search.base import Fitness, Pending, Proposal, SearchAlgorithm
from detnas_mm.structures import ArchPath, Origin, SearchSpace
from detnas_mm.utils.errors import InputError


class FixedPaths(SearchAlgorithm):
    """Proposes the paths of a list, all in one generation.

    They are digits or sequences of choices. The constraint of a search does
    not apply to them.
    """

    def __init__(
        self, space: SearchSpace, *, paths: Sequence[str | Sequence[int]]
    ) -> None:
        self.paths = [
            space.parse(path)
            if isinstance(path, str)
            else space.validate(path)
            for path in paths
        ]
        if not self.paths or len(set(self.paths)) != len(self.paths):
            raise InputError(
                f'`paths` must be different paths, at least one, got {paths}'
            )
        self.population = len(self.paths)

    def propose(self, pending: Pending = ()) -> list[Proposal]:
        return [Proposal(path, Origin.FIXED) for path in self.paths]

    def tell(
        self, paths: Sequence[ArchPath], fitnesses: Sequence[Fitness]
    ) -> None:
        """Ignore the results: the list does not depend on them."""
