"""Failed candidates get a second try elsewhere: is it the path, or the GPU?"""

from collections import Counter

from detnas_mm.structures import Path

from .local import Evaluation
from .watch import JobError

# So many failures in a row that another rank did not confirm are not by
# chance.
_MAX_UNCONFIRMED = 5


class SecondTries:
    """Holds back a failure until another rank has tried the path, too."""

    def __init__(self) -> None:
        self._first: dict[Path, tuple[int, Evaluation]] = {}
        self._unconfirmed: Counter[int] = Counter()

    def take(
        self, rank: int, path: Path, evaluation: Evaluation
    ) -> Evaluation | None:
        """Takes what a rank gives for a path.

        Returns:
            What is to be recorded, with the time of both tries; ``None`` if
            another rank is to try first.
        """
        if evaluation.error is None:
            self._unconfirmed[rank] = 0
        if path not in self._first:
            if evaluation.error is None:
                return evaluation
            self._first[path] = (rank, evaluation)
            return None
        failed, first = self._first.pop(path)
        if evaluation.error is None and rank != failed:
            self._unconfirmed[failed] += 1
        return evaluation.after(first)

    def require_no_sick_rank(self) -> None:
        """Looks for a rank that fails where others do not.

        Raises:
            JobError: If there is one.
        """
        for rank, number in self._unconfirmed.items():
            if number >= _MAX_UNCONFIRMED:
                raise JobError(
                    f'rank {rank} has failed {number} candidates in a row '
                    'that others could evaluate: look at its log, its GPU '
                    'and its disk; go on with --resume'
                )
