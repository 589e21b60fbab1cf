"""Paths that the user gives, to be scored like those of a search."""

from collections.abc import Sequence

from detnas_mm.search.base import Proposal
from detnas_mm.structures import ArchPath, Origin, SearchSpace
from detnas_mm.utils.errors import InputError


class GivenPaths:
    """Asks for the paths of a list, all in one generation.

    Args:
        space: The search space.
        paths: The paths, or their digits; the constraint of a search does
            not apply to them.

    Raises:
        InputError: If the list is empty, repeats a path, or has one of
            another space.
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

    def ask(
        self, pending: Sequence[Sequence[ArchPath]] = ()
    ) -> list[ArchPath]:
        """Returns the paths."""
        return list(self.paths)

    def propose(
        self, pending: Sequence[Sequence[ArchPath]] = ()
    ) -> list[Proposal]:
        """Returns the paths with their origin."""
        return [Proposal(path, Origin.GIVEN) for path in self.paths]

    def tell(
        self, paths: Sequence[ArchPath], fitnesses: Sequence[float | None]
    ) -> None:
        """Takes the fitness of each path, which changes nothing."""
