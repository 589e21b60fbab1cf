"""What a report shows, computed from the record of a search alone."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
from scipy.stats import kendalltau

from detnas_mm.structures import (
    MODEL,
    ArchPath,
    Candidate,
    ModelSummary,
    SearchHeader,
    SearchRecord,
    SearchSpace,
    Status,
    best_candidate,
    costs_among,
    get_search_space,
    last_gain,
    metrics_among,
    pareto_front,
)
from detnas_mm.utils.errors import InputError

# The paper's Figure 2 shows the top 50 of all evaluated paths; its generations
# have 50 paths.
TOP = 50
# These metrics are percentages; COCO's and VOC's are from 0 to 1.
_PERCENT = 'accuracy/'
# A line break in the unit would be hard to read.
_SHARE = '0 to 1'.replace(' ', '\N{NO-BREAK SPACE}')
# Time of an evaluation outside of its measured parts.
_OTHER = 'other'


@dataclass(frozen=True)
class Reference:
    """A backbone to compare with, such as a published one.

    Attributes:
        name: Name in the report.
        path: Path in the search space.
        macs: Multiply-adds, counted as in the search.
    """

    name: str
    path: ArchPath
    macs: int


@dataclass(frozen=True)
class Search:
    """A search as a report shows it.

    Attributes:
        name: Name in the report.
        header: Header of the record.
        space: Search space.
        candidates: All evaluated candidates, by index.
        references: Backbones of the same space to compare with.
        model: What a model of the scores knows, if the search has one.
        verdict: How the found network compares with others after training,
            one sentence each.
        verdict_page: Address of the page about that.
    """

    name: str
    header: SearchHeader
    space: SearchSpace
    candidates: tuple[Candidate, ...]
    references: tuple[Reference, ...] = ()
    model: ModelSummary | None = None
    verdict: tuple[str, ...] = ()
    verdict_page: str = ''

    @property
    def complete(self) -> list[Candidate]:
        """The candidates that have a fitness."""
        return [c for c in self.candidates if c.status is Status.COMPLETE]

    @property
    def failed(self) -> list[Candidate]:
        """The candidates whose evaluation failed."""
        return [c for c in self.candidates if c.status is Status.FAILED]

    @property
    def evaluated(self) -> list[Candidate]:
        """The candidates that were not reused from earlier searches."""
        return [c for c in self.candidates if c.generation >= 0]

    @property
    def is_exhausted(self) -> bool:
        """True if it ended early, after generations that brought nothing."""
        header = self.header
        last = last_gain(self.candidates, header.objectives)
        newest = max((c.generation for c in self.evaluated), default=0)
        is_whole = len(self.evaluated) >= header.planned
        if is_whole or last is None:
            return False
        return 0 < header.patience <= newest - last

    @property
    def is_unfinished(self) -> bool:
        """True if the search plans further candidates."""
        unfinished = len(self.evaluated) < self.header.planned
        return unfinished and not self.is_exhausted

    @property
    def best(self) -> Candidate | None:
        """The fittest candidate."""
        return best_candidate(list(self.candidates))

    @property
    def has_front(self) -> bool:
        """True if the search has more objectives than the fitness."""
        return bool(self.header.objectives)

    @property
    def objectives(self) -> Sequence[str]:
        """What the front has beside the fitness; MACs, if nothing else."""
        return self.header.objectives or ('macs',)

    @property
    def minimize(self) -> list[str]:
        """Costs on the Pareto front."""
        return costs_among(self.objectives)

    @property
    def maximize(self) -> list[str]:
        """Metrics on the Pareto front, in addition to the fitness."""
        return metrics_among(self.objectives)

    @property
    def front(self) -> list[Candidate]:
        """The candidates that no other candidate dominates."""
        return pareto_front(self.candidates, self.objectives)

    @property
    def has_latency(self) -> bool:
        """True if the search predicted latencies."""
        return any(c.latency is not None for c in self.candidates)

    @property
    def top(self) -> int:
        """Number of the fittest that are averaged: one generation."""
        population = self.header.algorithm.get('population')
        is_number = isinstance(population, int) and population > 0
        return population if is_number else TOP

    @property
    def input_size(self) -> str:
        """Height and width at which MACs were counted."""
        size = self.header.constraint.get('input_size', ())
        return ' x '.join(map(str, size)) + ' px' if size else 'unknown size'

    def bounds(self, cost: str) -> list[float]:
        """Return the bounds on MACs or latency, the lower one first.

        Where the MACs of the whole detector are bounded, neck and heads are
        subtracted.
        """
        settings = self.header.constraint
        bounds = (settings.get(f'min_{cost}'), settings.get(f'max_{cost}'))
        rest = settings.get('rest_macs') or 0 if cost == 'macs' else 0
        return [bound - rest for bound in bounds if bound is not None]

    @property
    def latency_label(self) -> str:
        """What the latency is of: a part in a runtime, at a size."""
        settings = self.header.constraint
        part = 'detector' if settings.get('rest_latency') else 'backbone'
        runtime = settings.get('latency_runtime', 'torch')
        size = ' x '.join(map(str, settings.get('latency_input_size', ())))
        return f'ms of the {part} in {runtime}' + (size and f' at {size} px')

    @property
    def score_label(self) -> str:
        """Name and unit of the metric."""
        unit = '%' if self.header.metric.startswith(_PERCENT) else _SHARE
        return f'{self.header.metric} ({unit})'


def make_search(
    name: str, record: SearchRecord, references: Sequence[Reference] = ()
) -> Search:
    """Read what a report needs from a record, and check it."""
    space = get_search_space(record.header.search_space)
    candidates = tuple(record.candidates)
    for candidate in candidates:
        space.parse(candidate.path)
    model = ModelSummary.read(record.path.with_name(MODEL), space)
    search = Search(
        name, record.header, space, candidates, tuple(references), model
    )
    for candidate in search.complete:
        values = [getattr(candidate, name, None) for name in search.minimize]
        values += [candidate.metrics.get(name) for name in search.maximize]
        if not all(isinstance(value, Real) for value in values):
            raise InputError(
                f'candidate {candidate.index} of {record.path} lacks an '
                'objective of the search: '
                f'{", ".join(search.objectives)}'
            )
    return search


@dataclass(frozen=True)
class Progress:
    """Scores by generation, from the first generation that has a score.

    Attributes:
        generation: Numbers of the generations, from 0.
        evaluated: Candidates evaluated up to the end of each generation,
            without reused ones.
        best: Best fitness up to then.
        top: How many of the fittest are averaged.
        top_mean: Mean fitness of the fittest up to then.
        top_worst: Lowest fitness among them.
    """

    generation: tuple[int, ...]
    evaluated: tuple[int, ...]
    best: tuple[float, ...]
    top: int
    top_mean: tuple[float, ...]
    top_worst: tuple[float, ...]


def progress(candidates: Sequence[Candidate], top: int = TOP) -> Progress:
    """Follow the ``top`` fittest candidates over the generations."""
    rows = []
    for generation in sorted({c.generation for c in candidates}):
        evaluated = [c for c in candidates if c.generation <= generation]
        scores = [c.fitness for c in evaluated if c.status is Status.COMPLETE]
        if scores:
            best = sorted(scores, reverse=True)[:top]
            mean = statistics.fmean(best)
            bought = sum(c.generation >= 0 for c in evaluated)
            rows.append((generation, bought, best[0], mean, best[-1]))
    columns = tuple(zip(*rows, strict=True)) or ((),) * 5
    generations, evaluated, best, top_mean, top_worst = columns
    return Progress(generations, evaluated, best, top, top_mean, top_worst)


def choice_shares(
    candidates: Sequence[Candidate], space: SearchSpace
) -> np.ndarray:
    """Return how often each choice was taken, failed candidates included.

    The shape is ``(generations, blocks, choices)``. The shares of a block in
    a generation add up to 1.
    """
    generations = sorted({c.generation for c in candidates})
    shares = np.zeros((len(generations), space.num_blocks, space.num_choices))
    blocks = np.arange(space.num_blocks)
    for candidate in candidates:
        row = shares[generations.index(candidate.generation)]
        row[blocks, list(space.parse(candidate.path))] += 1
    return shares / np.maximum(shares.sum(axis=2, keepdims=True), 1)


@dataclass(frozen=True)
class Predictions:
    """What a model predicted of a generation before it was evaluated.

    Attributes:
        generation: Number of the generation.
        count: Its candidates with a prediction and a fitness.
        gain: How much more than the best until then the model expected of
            the best of them; negative if it expected less.
        tau: Kendall's tau of prediction and fitness; NaN if undefined.
        error: Mean absolute difference of prediction and fitness.
        std: Mean standard deviation that the model gave.
    """

    generation: int
    count: int
    gain: float
    tau: float
    error: float
    std: float


def predictions(candidates: Sequence[Candidate]) -> list[Predictions]:
    """Compare predictions with scores, for each generation that has some."""
    complete = [c for c in candidates if c.status is Status.COMPLETE]
    rows = []
    for generation in sorted({c.generation for c in complete}):
        before = [c.fitness for c in complete if c.generation < generation]
        known = [
            (c.predicted, c.fitness, c.predicted_std)
            for c in complete
            if c.generation == generation and c.predicted is not None
        ]
        if known:
            mean, fitness, std = np.array(known).T
            tau = np.nan
            if len(known) > 1:
                tau = kendalltau(mean, fitness).statistic
            gain = mean.max() - max(before, default=mean.max())
            error = np.abs(mean - fitness).mean()
            numbers = map(float, (gain, tau, error, std.mean()))
            rows.append(Predictions(generation, len(known), *numbers))
    return rows


def effects_by_block(
    search: Search,
) -> list[tuple[str, dict[int, Sequence[float]]]]:
    """Return name and effects of each block, the largest difference first.

    Each effect, with its standard deviation, is by the digit of the choice.
    """
    space = search.space
    blocks = zip(space.allowed_choices, search.model.effects, strict=True)
    rows = [
        (space.block_name(block), dict(zip(choices, effects, strict=True)))
        for block, (choices, effects) in enumerate(blocks)
    ]
    return sorted(
        rows, key=lambda row: -np.ptp([mean for mean, _ in row[1].values()])
    )


@dataclass(frozen=True)
class Timing:
    """Durations of evaluations, in seconds.

    Attributes:
        index: Index of each candidate.
        seconds: Duration of its evaluation.
        median: Median of the durations.
        total: Sum over all candidates, whichever process ran them.
        by_part: For each part of an evaluation its duration for each
            candidate, with ``'other'`` for the rest; empty if the record has
            no parts. The parts of a candidate add up to its duration.
    """

    index: tuple[int, ...]
    seconds: tuple[float, ...]
    median: float
    total: float
    by_part: Mapping[str, tuple[float, ...]]

    def share(self, part: str) -> float:
        """Share of a part in the total time, from 0 to 1."""
        return sum(self.by_part[part]) / (self.total or 1)


def timing(candidates: Sequence[Candidate]) -> Timing:
    """Collect the durations of evaluations and of their parts."""
    seconds = tuple(c.seconds for c in candidates)
    measured = [c.seconds_by_part for c in candidates]
    by_part = {
        part: tuple(parts.get(part, 0.0) for parts in measured)
        for part in dict.fromkeys(part for parts in measured for part in parts)
    }
    if by_part:
        by_part[_OTHER] = tuple(
            max(0.0, total - sum(parts.values()))
            for total, parts in zip(seconds, measured, strict=True)
        )
    return Timing(
        index=tuple(c.index for c in candidates),
        seconds=seconds,
        median=statistics.median(seconds) if seconds else 0.0,
        total=sum(seconds),
        by_part=by_part,
    )
