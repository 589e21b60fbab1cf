"""What a report shows, computed from the record of a search alone."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np

from detnas_mm.structures import (
    ArchPath,
    Candidate,
    SearchHeader,
    SearchRecord,
    SearchSpace,
    Status,
    best_candidate,
    get_search_space,
    pareto_front,
)
from detnas_mm.utils.errors import InputError

# The paper's Figure 2 shows the top 50 of all paths evaluated so far, which
# is as many as a generation has.
TOP = 50
# Metrics that are percentages; those of COCO and VOC are from 0 to 1.
_PERCENT = 'accuracy/'
# A unit stays in one line.
_SHARE = '0 to 1'.replace(' ', '\N{NO-BREAK SPACE}')


@dataclass(frozen=True)
class Reference:
    """A backbone to compare with, such as a published one.

    Attributes:
        name: What it is called.
        path: Its path in the search space.
        macs: Its multiply-adds, counted like those of the search.
    """

    name: str
    path: ArchPath
    macs: int


@dataclass(frozen=True)
class Search:
    """A search as a report shows it.

    Attributes:
        name: What it is called in the report.
        header: What it is defined by.
        space: Its search space.
        candidates: All that was evaluated so far.
        references: Backbones of the same space to compare with.
    """

    name: str
    header: SearchHeader
    space: SearchSpace
    candidates: tuple[Candidate, ...]
    references: tuple[Reference, ...] = ()

    @property
    def complete(self) -> list[Candidate]:
        """The candidates that have a fitness."""
        return [c for c in self.candidates if c.status is Status.COMPLETE]

    @property
    def failed(self) -> list[Candidate]:
        """The candidates whose evaluation failed."""
        return [c for c in self.candidates if c.status is Status.FAILED]

    @property
    def dropped(self) -> list[Candidate]:
        """The candidates that a race dropped."""
        return [c for c in self.candidates if c.status is Status.DROPPED]

    @property
    def is_unfinished(self) -> bool:
        """Whether candidates are still to be evaluated."""
        return len(self.candidates) < self.header.planned

    @property
    def best(self) -> Candidate | None:
        """The fittest candidate."""
        return best_candidate(list(self.candidates))

    @property
    def minimise(self) -> tuple[str, ...]:
        """The costs that were to be low; MACs, where a score was alone."""
        algorithm = self.header.algorithm
        alone = not algorithm.get('maximise')
        default = ('macs',) if alone else ()
        return tuple(algorithm.get('minimise') or default)

    @property
    def maximise(self) -> tuple[str, ...]:
        """The metrics that were to be high beside the fitness."""
        return tuple(self.header.algorithm.get('maximise') or ())

    @property
    def front(self) -> list[Candidate]:
        """Those that no other candidate beats in all objectives."""
        return pareto_front(self.candidates, self.minimise, self.maximise)

    @property
    def has_latency(self) -> bool:
        """Whether the search predicted latencies."""
        return any(one.latency is not None for one in self.candidates)

    @property
    def top(self) -> int:
        """How many of the fittest are averaged: as many as a generation."""
        population = self.header.algorithm.get('population')
        is_number = isinstance(population, int) and population > 0
        return population if is_number else TOP

    @property
    def input_size(self) -> str:
        """Height and width at which MACs were counted."""
        size = self.header.constraint.get('input_size', ())
        return ' x '.join(map(str, size)) + ' px' if size else 'unknown size'

    @property
    def macs_bounds(self) -> list[float]:
        """The bounds on the MACs of the backbone, the lower one first.

        Where the whole detector was bounded, that is what is left for the
        backbone.
        """
        settings = self.header.constraint
        bounds = (settings.get('min_macs'), settings.get('max_macs'))
        rest = settings.get('rest_macs') or 0
        return [bound - rest for bound in bounds if bound is not None]

    @property
    def score_label(self) -> str:
        """Name and unit of the metric."""
        unit = '%' if self.header.metric.startswith(_PERCENT) else _SHARE
        return f'{self.header.metric} ({unit})'


def make_search(
    name: str, record: SearchRecord, references: Sequence[Reference] = ()
) -> Search:
    """Takes what a report needs out of a record.

    Raises:
        InputError: If the search space, a path or an objective of the record
            is corrupt.
    """
    space = get_search_space(record.header.search_space)
    for candidate in record.candidates:
        space.parse(candidate.path)
    search = Search(
        name,
        record.header,
        space,
        tuple(record.candidates),
        tuple(references),
    )
    for one in search.complete:
        costs = [getattr(one, cost, None) for cost in search.minimise]
        scores = [one.metrics.get(metric) for metric in search.maximise]
        if not all(isinstance(value, Real) for value in costs + scores):
            raise InputError(
                f'candidate {one.index} of {record.path} lacks an objective '
                f'of the search: {", ".join(search.minimise)}, '
                f'{", ".join(search.maximise)}'
            )
    return search


@dataclass(frozen=True)
class Progress:
    """How a search went on, a value for each generation.

    Generations that end before the first complete candidate are left out.

    Attributes:
        generation: Numbers of the generations, from 0.
        evaluated: Candidates evaluated up to the end of each.
        best: Best fitness so far.
        top: How many of the fittest are averaged.
        top_mean: Mean fitness of the fittest so far.
        top_worst: Fitness of the last of those.
    """

    generation: tuple[int, ...]
    evaluated: tuple[int, ...]
    best: tuple[float, ...]
    top: int
    top_mean: tuple[float, ...]
    top_worst: tuple[float, ...]


def progress(candidates: Sequence[Candidate], top: int = TOP) -> Progress:
    """Follows the fittest candidates over the generations.

    Args:
        candidates: The candidates, in the order of the record.
        top: How many of the fittest are averaged.
    """
    rows = []
    for generation in sorted({c.generation for c in candidates}):
        so_far = [c for c in candidates if c.generation <= generation]
        scores = sorted(
            (c.fitness for c in so_far if c.fitness is not None), reverse=True
        )
        if scores:
            fittest = scores[:top]
            mean = statistics.fmean(fittest)
            rows.append(
                (generation, len(so_far), scores[0], mean, fittest[-1])
            )
    columns = tuple(zip(*rows, strict=True)) or ((),) * 5
    generations, evaluated, best, top_mean, top_worst = columns
    return Progress(generations, evaluated, best, top, top_mean, top_worst)


@dataclass(frozen=True)
class CostScores:
    """Score against cost.

    Attributes:
        macs: Multiply-adds of each complete candidate.
        fitness: Its fitness.
        generation: Its generation.
        front_macs: Multiply-adds of those that none beats in both.
        front_fitness: Their fitness.
    """

    macs: tuple[int, ...]
    fitness: tuple[float, ...]
    generation: tuple[int, ...]
    front_macs: tuple[int, ...]
    front_fitness: tuple[float, ...]


def cost_scores(candidates: Sequence[Candidate]) -> CostScores:
    """Sets the fitness of candidates against their MACs."""
    complete = [c for c in candidates if c.status is Status.COMPLETE]
    front = pareto_front(complete)
    return CostScores(
        macs=tuple(c.macs for c in complete),
        fitness=tuple(c.fitness for c in complete),
        generation=tuple(c.generation for c in complete),
        front_macs=tuple(c.macs for c in front),
        front_fitness=tuple(c.fitness for c in front),
    )


@dataclass(frozen=True)
class ChoiceShares:
    """How often each choice of each block was taken.

    Attributes:
        generations: Numbers of the generations.
        shares: Shape ``(generations, blocks, choices)``; the shares of a
            block in a generation add up to 1.
    """

    generations: tuple[int, ...]
    shares: np.ndarray


def choice_shares(
    candidates: Sequence[Candidate], space: SearchSpace
) -> ChoiceShares:
    """Counts the choices of all candidates, whatever became of them."""
    generations = sorted({c.generation for c in candidates})
    shares = np.zeros((len(generations), space.num_blocks, space.num_choices))
    blocks = np.arange(space.num_blocks)
    for candidate in candidates:
        row = shares[generations.index(candidate.generation)]
        row[blocks, list(space.parse(candidate.path))] += 1
    shares /= np.maximum(shares.sum(axis=2, keepdims=True), 1)
    return ChoiceShares(tuple(generations), shares)


def fittest(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """Returns the fittest candidates, the earlier among equals."""
    complete = [c for c in candidates if c.status is Status.COMPLETE]
    return sorted(complete, key=lambda c: (-c.fitness, c.index))[:count]
