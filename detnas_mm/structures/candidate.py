"""One evaluated path."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from detnas_mm.utils.errors import InputError

# Costs of a path: fields of a candidate, the lower the better.
COSTS = ('macs', 'params', 'latency')


def costs_among(objectives: Iterable[str]) -> list[str]:
    """Return the objectives that are costs, to be low."""
    return [name for name in objectives if name in COSTS]


def metrics_among(objectives: Iterable[str]) -> list[str]:
    """Return the objectives that are metrics, to be high."""
    return [name for name in objectives if name not in COSTS]


class Origin(StrEnum):
    """How the search chose a path."""

    RANDOM = 'random'
    MUTATION = 'mutation'
    CROSSOVER = 'crossover'
    FIXED = 'fixed'
    REUSED = 'reused'

    @classmethod
    def _missing_(cls, value: object) -> 'Origin | None':
        # Its name in records of earlier versions.
        return cls.FIXED if value == 'given' else None


class Status(StrEnum):
    """The outcome of an evaluation.

    A failed candidate has no fitness. One that is outside of the bounds has
    one: it was reused from a search with other bounds, and only teaches the
    model.
    """

    COMPLETE = 'complete'
    FAILED = 'failed'
    OUTSIDE = 'outside'


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An evaluated path with its result.

    Attributes:
        index: Number of the candidate in the search, from 0. Candidates that
            are reused from another search have negative numbers.
        generation: Number of its generation, from 0; -1 if it is reused.
        origin: How the search chose it.
        path: Its choice digits.
        macs: Multiply-adds of the backbone.
        params: Number of parameters of the backbone.
        fitness: The metric that is searched for, unrounded; ``None`` for a
            failed candidate.
        metrics: All metrics of the evaluator, unrounded.
        seconds: Duration of the evaluation.
        status: Whether it has a fitness.
        error: Why it failed, in one line; ``None`` for complete ones.
        latency: Predicted latency of the backbone, or of the detector, in
            ms, where the search has a table of latencies.
        seconds_by_part: Seconds of each part of the evaluation, where they
            were measured: reading images, calibration of the BN statistics,
            inference, metric.
        predicted: Fitness that a model predicted before the evaluation, where
            the search has one.
        predicted_std: Standard deviation of the prediction.
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
    predicted: float | None = None
    predicted_std: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, 'origin', Origin(self.origin))
        object.__setattr__(self, 'status', Status(self.status))
        complete = self.status is not Status.FAILED
        if complete != (self.fitness is not None):
            raise InputError(
                'a complete candidate has a fitness and a failed one has '
                f'none, got status {self.status.value!r} with fitness '
                f'{self.fitness}'
            )
        if complete and not math.isfinite(self.fitness):
            raise InputError(
                f'`fitness` must be a finite number, got {self.fitness} for '
                f'path {self.path}'
            )

    def to_dict(self) -> dict:
        """Return the fields as plain data that JSON can hold."""
        fields = asdict(self)
        # Not every search has these.
        for name in ('latency', 'predicted', 'predicted_std'):
            if fields[name] is None:
                del fields[name]
        if not self.seconds_by_part:
            del fields['seconds_by_part']
        return fields | dict(
            origin=self.origin.value, status=self.status.value
        )

    @classmethod
    def from_dict(cls, fields: Mapping) -> 'Candidate':
        """Build a candidate; fields of other versions are ignored."""
        known = cls.__dataclass_fields__
        try:
            return cls(**{key: fields[key] for key in fields if key in known})
        except TypeError as error:
            raise InputError(
                f'not the fields of a candidate: {error}'
            ) from error


def best_candidate(candidates: Iterable[Candidate]) -> Candidate | None:
    """Return the fittest candidate, the earliest among equals."""
    return next(iter(fittest(candidates)), None)


def fittest(
    candidates: Iterable[Candidate], count: int | None = None
) -> list[Candidate]:
    """Return the fittest candidates, the earlier one first if equal."""
    complete = [c for c in candidates if c.status is Status.COMPLETE]
    return sorted(complete, key=lambda c: (-c.fitness, c.index))[:count]
