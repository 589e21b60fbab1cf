"""What the evaluations of a search took, as a whole and by part."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from detnas_mm.structures import Candidate

# What is left of an evaluation beside its parts.
_OTHER = 'other'


@dataclass(frozen=True)
class Timing:
    """What the evaluations took, in seconds.

    Attributes:
        index: Number of each candidate.
        seconds: Its duration.
        median: The median of the durations.
        total: Their sum over all candidates, whichever process ran them.
        by_part: For each part of an evaluation what it took of each
            candidate, with ``'other'`` for the rest; empty where no parts
            were recorded. The parts of a candidate add up to its duration.
    """

    index: tuple[int, ...]
    seconds: tuple[float, ...]
    median: float
    total: float
    by_part: Mapping[str, tuple[float, ...]]

    def share(self, part: str) -> float:
        """Share of a part in the time of all candidates, from 0 to 1."""
        return sum(self.by_part[part]) / (self.total or 1)


def timing(candidates: Sequence[Candidate]) -> Timing:
    """Collects what the evaluation of each candidate took."""
    seconds = tuple(c.seconds for c in candidates)
    return Timing(
        index=tuple(c.index for c in candidates),
        seconds=seconds,
        median=statistics.median(seconds) if seconds else 0.0,
        total=sum(seconds),
        by_part=_by_part(candidates),
    )


def _by_part(
    candidates: Sequence[Candidate],
) -> dict[str, tuple[float, ...]]:
    recorded = [one.seconds_by_part for one in candidates]
    parts = dict.fromkeys(part for one in recorded for part in one)
    if not parts:
        return {}
    named = {part: [one.get(part, 0.0) for one in recorded] for part in parts}
    sums = map(sum, zip(*named.values(), strict=True))
    named[_OTHER] = [
        max(0.0, one.seconds - known)
        for one, known in zip(candidates, sums, strict=True)
    ]
    return {part: tuple(values) for part, values in named.items()}
