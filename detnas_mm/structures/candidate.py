"""One evaluated path."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from detnas_mm.utils.errors import InputError


class Origin(StrEnum):
    """How the search came upon a path."""

    RANDOM = 'random'
    MUTATION = 'mutation'
    CROSSOVER = 'crossover'
    FIXED = 'fixed'


class Status(StrEnum):
    """Whether the evaluation of a candidate gave a fitness.

    A race drops a candidate when its score on a part of the images says that
    it cannot reach the parents: nobody knows its fitness, and it is neither
    the best nor a parent.
    """

    COMPLETE = 'complete'
    FAILED = 'failed'
    DROPPED = 'dropped'


# Scores on the first images of the search split: pairs of a number of images
# and the score on that many.
Rungs = tuple[tuple[int, float], ...]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A path that was evaluated, and what came out.

    Attributes:
        index: Number of the candidate in the search, from 0.
        generation: Number of its generation, from 0.
        origin: How the search came upon it.
        path: Its choice digits.
        macs: Multiply-adds of the backbone.
        params: Number of parameters of the backbone.
        fitness: The metric that is searched for, unrounded; ``None`` for a
            failed or dropped candidate.
        metrics: All metrics of the evaluator, unrounded.
        seconds: Duration of the evaluation.
        status: Whether it has a fitness.
        error: Why it failed, in one line; ``None`` for the others.
        latency: Predicted latency of the backbone in ms, where the search
            has a table of latencies.
        seconds_by_part: Seconds of each part of the evaluation, where they
            were measured: reading images, calibration of the BN statistics,
            inference, metric.
        rungs: Its scores on parts of the search split, if candidates race;
            a dropped one was scored on no more images than in the last.
    """

    index: int
    generation: int
    origin: Origin
    path: str
    macs: int
    params: int
    fitness: float | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    status: Status = Status.COMPLETE
    error: str | None = None
    latency: float | None = None
    seconds_by_part: Mapping[str, float] = field(default_factory=dict)
    rungs: Rungs = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, 'origin', Origin(self.origin))
        object.__setattr__(self, 'status', Status(self.status))
        object.__setattr__(self, 'rungs', as_rungs(self.rungs))
        complete = self.status is Status.COMPLETE
        if complete != (self.fitness is not None):
            raise InputError(
                'a complete candidate has a fitness, a failed or dropped one '
                f'has none, got status {self.status.value!r} with fitness '
                f'{self.fitness}'
            )
        if self.status is Status.DROPPED and not self.rungs:
            raise InputError(
                'a dropped candidate has the scores (`rungs`) for which it '
                f'was dropped, got none for path {self.path}'
            )
        if complete and not math.isfinite(self.fitness):
            raise InputError(
                f'`fitness` must be a finite number, got {self.fitness} for '
                f'path {self.path}'
            )

    def to_dict(self) -> dict:
        """Returns the fields as plain data that JSON can hold."""
        fields = asdict(self)
        # What not every search has.
        if self.latency is None:
            del fields['latency']
        if not self.seconds_by_part:
            del fields['seconds_by_part']
        if not self.rungs:
            del fields['rungs']
        return fields | {
            'origin': self.origin.value,
            'status': self.status.value,
        }

    @classmethod
    def from_dict(cls, fields: Mapping) -> 'Candidate':
        """Builds a candidate from what :meth:`to_dict` gave.

        Raises:
            InputError: If a field is missing, unknown or out of range.
        """
        try:
            return cls(**fields)
        except TypeError as error:
            raise InputError(
                f'not the fields of a candidate: {error}'
            ) from error


def as_rungs(values: Iterable[Sequence[float]]) -> Rungs:
    """Makes rungs of what JSON gives back: lists of two numbers."""
    return tuple((int(images), float(score)) for images, score in values)


def best_candidate(candidates: list[Candidate]) -> Candidate | None:
    """Returns the fittest candidate, the earliest among equals."""
    complete = [c for c in candidates if c.status is Status.COMPLETE]
    return max(complete, key=lambda c: (c.fitness, -c.index), default=None)
