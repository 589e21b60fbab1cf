"""Ask, evaluate, record, tell (Algorithm 2 of the paper)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from detnas_mm.cost import Constraint
from detnas_mm.evaluation import CandidateEvaluator, Evaluation
from detnas_mm.search import Proposal, SearchAlgorithm
from detnas_mm.structures import (
    Candidate,
    SearchRecord,
    Status,
    best_candidate,
)

from .search_progress import SearchProgress


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
        max_failures: Failed candidates in a row that end the search.
    """

    algorithm: SearchAlgorithm
    constraint: Constraint
    evaluator: CandidateEvaluator
    record: SearchRecord
    progress: SearchProgress
    on_best: Callable[[Candidate], None]
    generations: int
    max_failures: int

    def run(self) -> Candidate:
        """Runs all generations and returns the fittest candidate.

        Generations that are in the record are told again instead of being
        evaluated: the algorithm depends on nothing else.

        Raises:
            ValueError: If the record is not that of this search.
            RuntimeError: If too many candidates fail.
        """
        for generation in range(self.generations):
            self._run_generation(generation)
        best = best_candidate(self.record.candidates)
        if best is None:
            raise RuntimeError(
                'all candidates of the search failed, the last one with '
                f'{self.record.candidates[-1].error}'
            )
        self.on_best(best)
        self.progress.finish(best)
        return best

    def _run_generation(self, generation: int) -> None:
        proposals = self.algorithm.propose()
        start = generation * len(proposals)
        end = start + len(proposals)
        done = self.record.candidates[start:end]
        self._require_same_paths(done, proposals)
        rest = proposals[len(done) :]
        if rest:
            self._evaluate(rest, generation)
        candidates = self.record.candidates[start:end]
        if rest:
            self.progress.report_generation(generation, candidates)
        self.algorithm.tell(
            [one.path for one in proposals],
            [candidate.fitness for candidate in candidates],
        )

    def _evaluate(
        self, proposals: Sequence[Proposal], generation: int
    ) -> None:
        candidates = self.record.candidates
        best = best_candidate(candidates)
        evaluations = self.evaluator.evaluate([one.path for one in proposals])
        for proposal, evaluation in zip(proposals, evaluations, strict=True):
            candidate = self._candidate(generation, proposal, evaluation)
            self.record.append(candidate)
            if best_candidate([*filter(None, [best]), candidate]) is candidate:
                best = candidate
                self.on_best(best)
            self.progress.report(candidate, best)
            self._stop_if_all_fail()

    def _candidate(
        self, generation: int, proposal: Proposal, evaluation: Evaluation
    ) -> Candidate:
        table = self.constraint.table
        complete = evaluation.error is None
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
            status=Status.COMPLETE if complete else Status.FAILED,
            error=evaluation.error,
            latency=self.constraint.latency(proposal.path),
        )

    def _require_same_paths(
        self, done: Sequence[Candidate], proposals: Sequence[Proposal]
    ) -> None:
        format_path = self.constraint.space.format
        for candidate, proposal in zip(done, proposals, strict=False):
            if candidate.path != format_path(proposal.path):
                raise ValueError(
                    f'candidate {candidate.index} of {self.record.path} is '
                    f'{candidate.path}, but this search asks for '
                    f'{format_path(proposal.path)}: the record was changed, '
                    'or written by another version; use another work dir'
                )

    def _stop_if_all_fail(self) -> None:
        last = self.record.candidates[-self.max_failures :]
        if len(last) == self.max_failures and all(
            candidate.status is Status.FAILED for candidate in last
        ):
            raise RuntimeError(
                f'{self.max_failures} candidates in a row failed, the last '
                f'one with {last[-1].error}; mend the cause and go on with '
                '--resume'
            )
