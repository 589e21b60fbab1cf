"""Ask, evaluate, record, tell (Algorithm 2 of the paper)."""

import itertools
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from detnas_mm.cost import Constraint
from detnas_mm.engine.search.progress import SearchProgress
from detnas_mm.executors.base import CandidateEvaluator, Evaluation
from detnas_mm.executors.journal import Journal
from detnas_mm.executors.race import Race
from detnas_mm.search import Proposal, SearchAlgorithm
from detnas_mm.structures import (
    ArchPath,
    Candidate,
    Rungs,
    SearchRecord,
    SearchSpace,
    Status,
    best_candidate,
)
from detnas_mm.utils.errors import InputError

# Beside the record: what is finished, but not yet its turn.
_JOURNAL = 'search_record.pending.jsonl'


@dataclass(frozen=True, kw_only=True)
class SearchRun:
    """One search, from its first generation or from what is recorded.

    Attributes:
        algorithm: Proposes paths and is told their fitness.
        constraint: Knows the costs of a path.
        evaluator: Evaluates paths.
        record: The open record.
        progress: Tells the user.
        on_best: Called with each candidate that is the fittest so far.
        generations: Number of generations.
        lookahead: How many generations are begun before one has ended.
        max_failures: Failed candidates in a row that end the search.
        race: Says which candidates are not scored to the end.
        maximise: Metrics that the algorithm is told beside the fitness.
        on_generation: Called with all candidates after each generation that
            is not from the record, and after the last one.
    """

    algorithm: SearchAlgorithm
    constraint: Constraint
    evaluator: CandidateEvaluator
    record: SearchRecord
    progress: SearchProgress
    on_best: Callable[[Candidate], None]
    generations: int
    lookahead: int
    max_failures: int
    race: Race | None = None
    maximise: Sequence[str] = ()
    on_generation: Callable[[Sequence[Candidate]], None] | None = None

    def run(self) -> Candidate:
        """Runs all generations and returns the fittest candidate.

        Generations that are in the record are told again instead of being
        evaluated: the algorithm depends on nothing else.

        Raises:
            InputError: If the record is not that of this search.
            RuntimeError: If too many candidates fail.
        """
        planned: deque[list[Proposal]] = deque()
        for generation in range(self.generations):
            self._plan(generation, planned)
            proposals = planned.popleft()
            ahead = [path for paths in map(_paths, planned) for path in paths]
            self._run_generation(generation, proposals, ahead)
        best = best_candidate(self.record.candidates)
        if best is None:
            raise RuntimeError(
                'all candidates of the search failed, the last one with '
                f'{self.record.candidates[-1].error}; mend the cause and go '
                'on with --resume'
            )
        self.on_best(best)
        self.progress.finish(best)
        return best

    def _plan(self, generation: int, planned: deque[list[Proposal]]) -> None:
        """Asks for this generation, and for those that may begin with it."""
        last = min(generation + self.lookahead, self.generations - 1)
        while generation + len(planned) <= last:
            pending = [_paths(proposals) for proposals in planned]
            planned.append(self.algorithm.propose(pending))

    def _run_generation(
        self,
        generation: int,
        proposals: Sequence[Proposal],
        ahead: Sequence[ArchPath],
    ) -> None:
        start = generation * len(proposals)
        end = start + len(proposals)
        done = self.record.candidates[start:end]
        self._require_same_paths(done, proposals)
        rest = proposals[len(done) :]
        if rest:
            self._evaluate(rest, generation, ahead)
        candidates = self.record.candidates[start:end]
        if rest:
            self.progress.report_generation(generation, candidates)
        is_last = generation + 1 == self.generations
        if self.on_generation is not None and (rest or is_last):
            self.on_generation(self.record.candidates)
        self.algorithm.tell(
            _paths(proposals),
            [self._scores(candidate) for candidate in candidates],
        )

    def _scores(self, candidate: Candidate) -> float | list[float] | None:
        """Returns what the algorithm is told of a candidate."""
        if candidate.fitness is None or not self.maximise:
            return candidate.fitness
        further = [candidate.metrics[name] for name in self.maximise]
        return [candidate.fitness, *further]

    def _evaluate(
        self,
        proposals: Sequence[Proposal],
        generation: int,
        ahead: Sequence[ArchPath],
    ) -> None:
        candidates = self.record.candidates
        best = best_candidate(candidates)
        evaluations = self.evaluator.evaluate(
            _paths(proposals), ahead, self._bars(generation)
        )
        for proposal, evaluation in zip(proposals, evaluations, strict=True):
            candidate = self._candidate(generation, proposal, evaluation)
            self.record.append(candidate)
            if best_candidate([*filter(None, [best]), candidate]) is candidate:
                best = candidate
                self.on_best(best)
            self.progress.report(candidate, best)
            self._stop_if_all_fail()

    def _bars(self, generation: int) -> Rungs:
        """Returns the scores below which candidates are dropped.

        What is recorded of this generation does not count: a search that is
        gone on with has the same ones.
        """
        if self.race is None:
            return ()
        return self.race.bars(
            [c for c in self.record.candidates if c.generation < generation]
        )

    def _candidate(
        self, generation: int, proposal: Proposal, evaluation: Evaluation
    ) -> Candidate:
        table = self.constraint.table
        return Candidate(
            index=len(self.record.candidates),
            generation=generation,
            origin=proposal.origin,
            path=self.constraint.space.format(proposal.path),
            macs=table.macs(proposal.path),
            params=table.params(proposal.path),
            fitness=evaluation.fitness,
            metrics=evaluation.metrics,
            seconds=evaluation.seconds,
            status=evaluation.status,
            error=evaluation.error,
            latency=self.constraint.latency(proposal.path),
            seconds_by_part=evaluation.seconds_by_part,
            rungs=evaluation.rungs,
        )

    def _require_same_paths(
        self, done: Sequence[Candidate], proposals: Sequence[Proposal]
    ) -> None:
        format_path = self.constraint.space.format
        for candidate, proposal in zip(done, proposals, strict=False):
            if candidate.path != format_path(proposal.path):
                raise InputError(
                    f'candidate {candidate.index} of {self.record.path} is '
                    f'{candidate.path}, but this search asks for '
                    f'{format_path(proposal.path)}: the record was changed, '
                    'or written by another version; use another work dir'
                )

    def _stop_if_all_fail(self) -> None:
        failures = _final_failures(self.record.candidates)
        if len(failures) >= self.max_failures:
            raise RuntimeError(
                f'{self.max_failures} candidates in a row failed, the last '
                f'one with {failures[-1].error}; mend the cause and go on '
                'with --resume'
            )


def drop_final_failures(
    record: SearchRecord, max_failures: int, total: int, logger: logging.Logger
) -> None:
    """Takes back the failed candidates that ended a search, and says so.

    The search is gone on with after their cause was mended. Fewer failures
    than end a search stay: it was ended by something else.

    Args:
        record: The open record.
        max_failures: Failed candidates in a row that end the search; so do
            fewer if they are all that the search has.
        total: Number of candidates of the whole search.
        logger: Told how many there were.
    """
    failed = len(_final_failures(record.candidates))
    all_failed = failed == len(record.candidates) == total
    if failed < max_failures and not all_failed:
        return
    record.drop_last(failed)
    logger.warning(
        f'The last {failed} candidates of the record failed and ended the '
        'search: they are evaluated again'
    )


def open_journal(
    record: SearchRecord, space: SearchSpace, anew: bool = False
) -> Journal:
    """Opens the journal of a search that may have been killed.

    What is recorded is dropped from it: the process that had recorded it may
    have died before it did so.

    Args:
        record: The open record, beside which the journal lies.
        space: The search space.
        anew: Whether to drop all that is in the journal.
    """
    file = record.path.with_name(_JOURNAL)
    if anew:
        file.unlink(missing_ok=True)
    journal = Journal(file, record.header.digest)
    journal.forget(space.parse(one.path) for one in record.candidates)
    return journal


def _final_failures(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Returns the failed candidates after the last complete one."""
    failures = itertools.takewhile(
        lambda one: one.status is Status.FAILED, reversed(candidates)
    )
    return list(failures)[::-1]


def _paths(proposals: Sequence[Proposal]) -> list[ArchPath]:
    return [proposal.path for proposal in proposals]
