"""The search as a loop of MMEngine's Runner (Section 3.4, Algorithm 2)."""

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop
from torch.utils.data import DataLoader

from detnas_mm.engine.checks import (
    load_supernet,
    refuse_empty_split,
    require_batches,
    require_known_metrics,
    require_matching_channels,
    require_new_record,
    require_same_images,
)
from detnas_mm.engine.runner.candidate_training import CandidateTraining
from detnas_mm.engine.runner.candidate_validation import CandidateValidation
from detnas_mm.engine.search.constraint import build_constraint
from detnas_mm.engine.search.executors import build_executor, serve_search
from detnas_mm.engine.search.header import build_header
from detnas_mm.engine.search.progress import SearchProgress
from detnas_mm.engine.search.results import build_results
from detnas_mm.engine.search.reuse import read_reused, with_reused
from detnas_mm.engine.search.settings import (
    SearchSettings,
    build_algorithm,
    takes_objectives,
)
from detnas_mm.executors import Executor, PathEvaluator, Result
from detnas_mm.executors.launched import connect
from detnas_mm.models import find_supernet
from detnas_mm.registry import LOOPS
from detnas_mm.search import Proposal
from detnas_mm.structures import (
    RECORD,
    ArchPath,
    Candidate,
    ModelSummary,
    SearchRecord,
    Status,
    best_candidate,
    last_gain,
    metrics_among,
)
from detnas_mm.utils.errors import InputError


@LOOPS.register_module()
class EvolutionSearchLoop(BaseLoop):
    """Asks for paths, has them evaluated, records and tells the results.

    Used as ``val_cfg``: each path is scored by MMEngine's validation loop on
    the ``val_dataloader`` with the ``val_evaluator`` of the config, after
    :class:`BNRecalibrationHook` has recomputed its BN statistics. With the
    setting ``training`` each path is trained instead.

    The other settings of ``val_cfg`` are those of
    :class:`detnas_mm.engine.search.settings.SearchSettings`.

    Raises:
        InputError: If a setting is out of its range, too few paths keep the
            constraint, the search split is empty, the checkpoint does not
            fit, or the work dir holds a search and neither ``resume`` nor
            ``overwrite`` is set.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        **settings: object,
    ) -> None:
        self.settings = SearchSettings.from_config(settings)
        self.fp16 = self.settings.fp16
        self.record_path = Path(runner.work_dir) / RECORD
        # Connect first: if rank 0 refuses later, the launcher ends all ranks.
        launched = self.settings.launcher != 'none'
        self.info = connect() if launched else None
        self.searches = not (
            self.settings.evaluate_only or (self.info and self.info.rank)
        )
        if self.searches:
            require_new_record(self.record_path, self.settings)
        require_matching_channels(runner.model, runner.cfg)
        load_supernet(runner)
        with refuse_empty_split('val_dataloader'):
            super().__init__(runner, dataloader)
        require_batches(self.dataloader, 'val_dataloader', all_images=True)
        self._build(evaluator)

    def _build(self, evaluator: Evaluator | dict | list) -> None:
        settings, runner = self.settings, self.runner
        self.supernet = find_supernet(runner.model)
        with refuse_empty_split('train_dataloader'):
            self.validation = CandidateValidation(
                runner,
                self.dataloader,
                evaluator,
                fp16=settings.fp16,
                cache_gb=settings.cache_gb,
            )
        evaluator = self.validation.val_loop.evaluator
        require_known_metrics(evaluator, settings)
        require_same_images(self.dataloader.dataset, evaluator)
        self.constraint = build_constraint(
            runner.model, self.dataloader, settings.constraint
        )
        self.algorithm, complete = build_algorithm(settings, self.constraint)
        # Paths that are listed are scored once, whatever they cost.
        is_listed = 'paths' in complete
        self.generations = 1 if is_listed else settings.generations
        self.total = self.generations * self.algorithm.population
        header = build_header(
            runner.cfg,
            settings,
            supernet=self.supernet,
            constraint=self.constraint,
            algorithm=complete,
            planned=self.total,
        )
        self.reused = []
        if not is_listed:
            self.reused = read_reused(settings, header, self.constraint)
            legal = sum(c.status is Status.COMPLETE for c in self.reused)
            self.constraint.require_legal_paths(self.total + legal)
        self.header = with_reused(header, self.reused)
        score = self.validation.score
        if settings.training is not None:
            score = CandidateTraining(
                runner, self.supernet.search_space, settings, self.header
            ).score
        self.evaluate = PathEvaluator(
            score,
            settings.metric,
            metrics_among(settings.objectives),
            seconds_by_part=lambda: self.validation.timer.seconds,
        )
        # Only rank 0 builds it: its constructor publishes the header.
        if self.searches:
            self.executor = build_executor(
                settings,
                self.evaluate,
                info=self.info,
                config=runner.cfg,
                header=self.header,
            )
        self.results = build_results(runner, self.supernet, settings)

    def run(self) -> dict:
        """Runs the search, and writes its results.

        Returns:
            The metrics of the best candidate; an empty dict in a process
            that only evaluates.
        """
        if not self.searches:
            serve_search(
                self.settings,
                self.evaluate,
                info=self.info,
                header=self.header,
            )
            return {}
        if self.settings.resume and not self.record_path.exists():
            self.runner.logger.warning(
                f'Nothing to resume in {self.record_path.parent}: a new '
                'search starts'
            )
        with SearchRecord.open(
            self.record_path, self.header, overwrite=self.settings.overwrite
        ) as record:
            if self.settings.overwrite:
                self.results.remove()
            self._drop_final_failures(record)
            progress = SearchProgress(
                self.runner,
                self.supernet.search_space,
                metric=self.settings.metric,
                total=self.total,
                done=sum(c.index >= 0 for c in record.candidates),
            )
            with self.executor as executor:
                search = Search(self, record, executor, progress)
                return dict(search.run().metrics)

    def _drop_final_failures(self, record: SearchRecord) -> None:
        """Removes the failed candidates that ended a search.

        On resume the cause is assumed to be fixed. Fewer final failures than
        ``max_failures`` are kept: something else ended the search.
        """
        failed = _count_final_failures(record.finished)
        all_failed = failed == len(record.finished) == self.total
        if failed >= self.settings.max_failures or all_failed:
            record.drop_last(failed)
            self.runner.logger.warning(
                f'The last {failed} candidates of the record failed and ended '
                'the search: they are evaluated again'
            )


class FirstCandidateError(RuntimeError):
    """The first candidate failed, by something that is wrong for all."""


@dataclass(eq=False)
class Search:
    """One run of a search: Algorithm 2, from what is recorded.

    Record and executor are open; the loop has algorithm and constraint.
    """

    loop: EvolutionSearchLoop
    record: SearchRecord
    executor: Executor
    progress: SearchProgress

    def __post_init__(self) -> None:
        self.best = best_candidate(self.record.candidates)
        self.planned: deque[list[Proposal]] = deque()
        # Where each proposal that is not told yet belongs: index, generation
        # and origin of its candidate.
        self.places: dict[ArchPath, dict] = {}
        self.known = {c.index: c for c in self.record.candidates}
        self.model: ModelSummary | None = None

    def run(self) -> Candidate:
        """Runs all generations and returns the fittest candidate.

        Candidates of the record are told again instead of being evaluated:
        the algorithm depends on nothing else.

        Raises:
            InputError: If the record is not of this search, or too many
                candidates fail.
        """
        self._tell_reused()
        for generation in range(self.loop.generations):
            self._plan(generation)
            self._run_generation(generation)
            left = self.loop.generations - generation - 1
            if left and self._is_exhausted(generation):
                self.progress.logger.info(
                    f'The search ends {left} generations early: nothing '
                    'better was found in as many as `patience` allows, '
                    f'{self.loop.settings.patience}'
                )
                break
        if self.best is None:
            raise InputError(
                'all candidates of the search failed, the last one with '
                f'{self.record.finished[-1].error}; fix the cause and run '
                'again with --resume'
            )
        self.loop.results.write_best(self.best)
        self.progress.finish(self.best, self.model)
        return self.best

    def _tell_reused(self) -> None:
        """Records and tells the candidates of earlier searches."""
        reused = self.loop.reused
        for candidate in reused:
            if candidate.index not in self.known:
                self.record.append(candidate)
        if reused:
            self.best = best_candidate(self.record.candidates)
            self.loop.algorithm.tell(
                [self.loop.constraint.space.parse(c.path) for c in reused],
                [self._scores(c) for c in reused],
            )
            within = sum(c.status is Status.COMPLETE for c in reused)
            self.progress.logger.info(
                f'{len(reused)} scores of earlier searches are reused, '
                f'{within} of them within the bounds'
            )

    def _is_exhausted(self, generation: int) -> bool:
        """Returns True if the last generations have brought nothing."""
        settings = self.loop.settings
        # Those of later generations may have started already.
        candidates = [
            c for c in self.record.candidates if c.generation <= generation
        ]
        last = last_gain(candidates, settings.objectives)
        return last is not None and 0 < settings.patience <= generation - last

    def _plan(self, generation: int) -> None:
        """Asks for this generation and those that may start with it."""
        last = min(
            generation + self.loop.settings.lookahead,
            self.loop.generations - 1,
        )
        while generation + len(self.planned) <= last:
            pending = [_paths(proposals) for proposals in self.planned]
            proposals = self.loop.algorithm.propose(pending)
            number = generation + len(self.planned)
            for position, proposal in enumerate(proposals):
                index = number * self.loop.algorithm.population + position
                self._require_same_path(index, proposal)
                self.places[proposal.path] = dict(
                    index=index,
                    generation=number,
                    origin=proposal.origin,
                    predicted=proposal.predicted,
                    predicted_std=proposal.predicted_std,
                )
            self.planned.append(proposals)

    def _run_generation(self, generation: int) -> None:
        proposals = self.planned.popleft()
        missing = self._unknown(proposals)
        ahead = [p for later in self.planned for p in self._unknown(later)]
        for path, result in self.executor.run(missing, ahead):
            self._add(path, result)
        places = [self.places[proposal.path] for proposal in proposals]
        candidates = [self.known[place['index']] for place in places]
        if missing:
            self.progress.report_generation(generation, candidates)
        if missing or generation + 1 == self.loop.generations:
            self.loop.results.write_front(self.record.candidates)
        self.loop.algorithm.tell(
            _paths(proposals), [self._scores(c) for c in candidates]
        )
        for proposal in proposals:
            del self.places[proposal.path]
        pending = [_paths(later) for later in self.planned]
        self.model = self.loop.algorithm.summarize(pending)
        self.loop.results.write_model(self.model)

    def _add(self, path: ArchPath, result: Result) -> None:
        """Records a result.

        Raises:
            FirstCandidateError: If no candidate has a score yet, and the
                path is probably not what is wrong.
        """
        if result.traceback and self.best is None:
            raise FirstCandidateError(
                'no candidate has a score yet, and the path '
                f'{self.loop.constraint.space.format(path)} ended with this '
                f'error; correct its cause and run again with --resume:\n'
                f'{result.traceback}'
            )
        constraint = self.loop.constraint
        candidate = Candidate(
            **self.places[path],
            path=constraint.space.format(path),
            macs=constraint.table.macs(path),
            params=constraint.table.params(path),
            fitness=result.fitness,
            metrics=result.metrics,
            seconds=result.seconds,
            status=result.status,
            error=result.error,
            latency=constraint.latency(path),
            seconds_by_part=result.seconds_by_part,
        )
        self.record.append(candidate)
        self.known[candidate.index] = candidate
        best = best_candidate([*filter(None, [self.best]), candidate])
        if best is candidate:
            self.loop.results.write_best(candidate)
        self.best = best
        self.progress.report(candidate, best)
        self._stop_if_all_fail()

    def _scores(self, candidate: Candidate) -> float | list[float] | None:
        """Returns what the algorithm is told of a candidate."""
        names = metrics_among(self.loop.settings.objectives)
        alone = not names or not takes_objectives(self.loop.algorithm)
        if candidate.fitness is None or alone:
            return candidate.fitness
        return [candidate.fitness, *(candidate.metrics[k] for k in names)]

    def _unknown(self, proposals: Sequence[Proposal]) -> list[ArchPath]:
        return [
            path
            for path in _paths(proposals)
            if self.places[path]['index'] not in self.known
        ]

    def _require_same_path(self, index: int, proposal: Proposal) -> None:
        path = self.loop.constraint.space.format(proposal.path)
        if index in self.known and self.known[index].path != path:
            raise InputError(
                f'candidate {index} of {self.record.path} is '
                f'{self.known[index].path}, but this search asks for {path}: '
                'the record was changed, or written by another version; use '
                'another --work-dir'
            )

    def _stop_if_all_fail(self) -> None:
        failed = _count_final_failures(self.record.finished)
        if failed >= self.loop.settings.max_failures:
            raise InputError(
                f'{failed} candidates in a row failed, the last one with '
                f'{self.record.finished[-1].error}; fix the cause and run '
                'again with --resume'
            )


def _count_final_failures(candidates: Sequence[Candidate]) -> int:
    """Counts the failed candidates after the last complete one."""
    failures = itertools.takewhile(
        lambda candidate: candidate.status is Status.FAILED,
        reversed(candidates),
    )
    return len(list(failures))


def _paths(proposals: Sequence[Proposal]) -> list[ArchPath]:
    return [proposal.path for proposal in proposals]
