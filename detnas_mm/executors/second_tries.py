"""Failed candidates get a second try elsewhere: is it the path, or the GPU?"""

from collections import Counter
from collections.abc import Hashable

from detnas_mm.executors.base import Evaluation
from detnas_mm.structures import ArchPath

# So many failures in a row that another worker did not confirm are not by
# chance.
_MAX_UNCONFIRMED = 5


class SecondTries:
    """Holds back a failure until another worker has tried the path, too.

    A worker is whatever evaluates: a rank of a job, a worker of Ray.
    """

    def __init__(self) -> None:
        self._first: dict[ArchPath, tuple[Hashable, Evaluation]] = {}
        self._unconfirmed: Counter[Hashable] = Counter()

    def take(
        self, worker: Hashable, path: ArchPath, evaluation: Evaluation
    ) -> Evaluation | None:
        """Takes what a worker gives for a path.

        Returns:
            What is to be recorded, with the time of both tries; ``None`` if
            another worker is to try first.
        """
        if evaluation.error is None:
            self._unconfirmed[worker] = 0
        if path not in self._first:
            if evaluation.error is None:
                return evaluation
            self._first[path] = (worker, evaluation)
            return None
        failed, first = self._first.pop(path)
        if evaluation.error is None and worker != failed:
            self._unconfirmed[failed] += 1
        return evaluation.after(first)

    def failed_on(self, path: ArchPath) -> Hashable | None:
        """Returns who has failed a path that waits for its second try."""
        worker, _ = self._first.get(path, (None, None))
        return worker

    def sick(self) -> dict[Hashable, int]:
        """Returns who fails where others do not.

        Returns:
            For each of them how many paths in a row others could evaluate.
        """
        return {
            worker: number
            for worker, number in self._unconfirmed.items()
            if number >= _MAX_UNCONFIRMED
        }
