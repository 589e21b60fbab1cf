"""Which candidates need not be scored to the end: a race for parenthood.

A candidate is scored on growing parts of the search split. What the rest of
the images would add to its score is foretold from the first generation, which
is always scored to the end, on the same parts.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from detnas_mm.structures import Candidate, Rungs, Status
from detnas_mm.utils.errors import InputError

# From fewer candidates of the first generation nothing is foretold.
_MIN_CANDIDATES = 5


@dataclass(frozen=True, kw_only=True)
class Race:
    """Says below which score on a part of the images a candidate is dropped.

    The gain of a candidate, its fitness minus its score on a part, has a mean
    and a spread over the candidates of the first generation. The mean says
    whether the images of the part are easy or hard, for everybody alike; the
    spread how much a score on them misleads. A candidate is dropped when even
    a gain at the end of that spread (a one-sided prediction bound of
    Student's t) leaves it below the last of the parents:

        score + mean gain + margin < fitness of the last parent

    Survivors of later generations are not counted, since those that gain
    much were dropped more often.

    Attributes:
        parents: How many of the fittest candidates are parents.
        parts: The parts of the images, each between 0 and 1.
        risk: Probability that a candidate as good as the last parent is
            dropped, all parts together.

    Raises:
        InputError: If a setting is out of its range.
    """

    parents: int
    parts: tuple[float, ...] = (0.125, 0.25, 0.5)
    risk: float = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, 'parts', tuple(map(float, self.parts)))
        ends = (0.0, *self.parts, 1.0)
        if not self.parts or any(
            one >= next_one
            for one, next_one in zip(ends, ends[1:], strict=False)
        ):
            raise InputError(
                '`parts` of the race must be growing parts of the images, '
                f'between 0 and 1, got {self.parts}'
            )
        if not 0 < self.risk < 0.5:
            raise InputError(
                '`risk` of the race must be between 0 and 0.5, got '
                f'{self.risk}'
            )

    def bars(self, candidates: Sequence[Candidate]) -> Rungs:
        """Returns the least scores with which a candidate goes on.

        They depend on the candidates alone.

        Args:
            candidates: All candidates of the generations before.

        Returns:
            Numbers of images, each with a score. None as long as there are
            too few candidates to compare with.
        """
        complete = [c for c in candidates if c.status is Status.COMPLETE]
        if len(complete) < self.parents:
            return ()
        fitnesses = sorted((c.fitness for c in complete), reverse=True)
        last_parent = fitnesses[self.parents - 1]
        gains: dict[int, list[float]] = {}
        for one in complete:
            if one.generation == 0:
                for images, score in one.rungs:
                    gains.setdefault(images, []).append(one.fitness - score)
        risk = self.risk / len(self.parts)
        return tuple(
            (images, last_parent - likely_most(values, risk))
            for images, values in sorted(gains.items())
            if len(values) >= _MIN_CANDIDATES
        )


def likely_most(values: Sequence[float], risk: float) -> float:
    """Returns what the next value exceeds with a probability of ``risk``.

    A prediction bound for values of a normal distribution whose mean and
    spread are known from ``values`` alone.

    Args:
        values: At least two values.
        risk: The probability.
    """
    count = len(values)
    spread = statistics.stdev(values) * math.sqrt(1 + 1 / count)
    quantile = float(stats.t.ppf(1 - risk, count - 1))
    return statistics.fmean(values) + quantile * spread
