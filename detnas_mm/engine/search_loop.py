"""The search as a loop of MMEngine's Runner (Section 3.4, Algorithm 2)."""

import contextlib
import io
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath

from mmengine.evaluator import Evaluator
from mmengine.runner import Runner, ValLoop
from mmengine.runner.base_loop import BaseLoop
from torch.utils.data import DataLoader

from detnas_mm.cost import Constraint
from detnas_mm.evaluation import Evaluation, LocalEvaluator, unrounded
from detnas_mm.models import (
    find_supernet,
    load_state_dict,
    require_matching_keys,
)
from detnas_mm.registry import LOOPS
from detnas_mm.search import (
    Evolution,
    Proposal,
    RandomSearch,
    SearchAlgorithm,
)
from detnas_mm.structures import (
    Candidate,
    Path,
    SearchRecord,
    Status,
    best_candidate,
)

from .bn_recalibration_hook import BNRecalibrationHook
from .search_constraint import build_constraint, extend_to_detector
from .search_header import build_search_header
from .search_progress import SearchProgress
from .search_results import write_results
from .unwrap import unwrap

RECORD = 'search_record.jsonl'


@LOOPS.register_module()
class EvolutionSearchLoop(BaseLoop):
    """Asks for paths, has each validated, records and tells.

    Used as ``val_cfg``: each path is scored by MMEngine's validation loop on
    the ``val_dataloader`` with the ``val_evaluator`` of the config, after
    :class:`BNRecalibrationHook` has recomputed its BN statistics.

    Args:
        runner: The runner.
        dataloader: The data loader of the search split.
        evaluator: The evaluator.
        metric: Key of the metric that is the fitness, higher is better, such
            as ``'coco/bbox_mAP'``, ``'pascal_voc/mAP'``, ``'accuracy/top1'``.
        constraint: Bounds on the cost, see
            :func:`detnas_mm.engine.search_constraint.build_constraint`.
        algorithm: ``'evolution'``, or ``'random'`` for the paper's baseline.
        generations: Number of generations.
        population: Number of paths of a generation.
        parents: Number of the fittest paths that have children.
        mutation_prob: Probability that a choice of a mutated path is
            redrawn.
        num_mutation: Mutated children of a generation.
        num_crossover: Crossed children of a generation.
        num_random: Random paths of each later generation.
        seed: Seed of the search.
        resume: Whether to go on with the search in the work dir.
        max_failures: Failed candidates in a row that end the search.
        fp16: Whether to run the detector under autocast.

    Raises:
        ValueError: If a setting is out of its range, or too few paths keep
            the constraint.
        FileExistsError: If the work dir holds a search and ``resume`` is
            not set.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        *,
        metric: str,
        constraint: Mapping | None = None,
        algorithm: str = 'evolution',
        generations: int = 20,
        population: int = 50,
        parents: int = 10,
        mutation_prob: float = 0.1,
        num_mutation: int | None = None,
        num_crossover: int | None = None,
        num_random: int = 0,
        seed: int = 0,
        resume: bool = False,
        max_failures: int = 10,
        fp16: bool = False,
    ) -> None:
        if generations < 1:
            raise ValueError(
                f'`generations` must be at least 1, got {generations}'
            )
        self.record_path = FilePath(runner.work_dir) / RECORD
        _require_new_record(self.record_path, resume)
        _require_bn_recalibration(runner)
        self.supernet = find_supernet(runner.model)
        self.metric = metric
        self.generations = generations
        self.population = population
        self.seed = seed
        self.max_failures = max_failures
        self.settings = dict(type=algorithm, population=population)
        if algorithm == 'evolution':
            self.settings.update(
                parents=parents,
                mutation_prob=mutation_prob,
                num_mutation=num_mutation,
                num_crossover=num_crossover,
                num_random=num_random,
            )
        self._load_supernet(runner)
        settings = dict(constraint or {})
        whole_detector = settings.pop('whole_detector', False)
        self._set_constraint(build_constraint(self.supernet, settings))

        super().__init__(runner, dataloader)
        self.val_loop = ValLoop(runner, self.dataloader, evaluator, fp16)
        self.evaluator = self.val_loop.evaluator
        if whole_detector:
            self._set_constraint(
                extend_to_detector(
                    self.constraint, runner.model, self.dataloader
                )
            )

    def run(self) -> dict:
        """Runs the search, and writes its results.

        Returns:
            The metrics of the best candidate.
        """
        header = build_search_header(
            self.runner.cfg,
            checkpoint=self.runner.cfg.load_from,
            supernet=self.supernet,
            constraint=self.constraint,
            algorithm=self.settings,
            metric=self.metric,
            seed=self.seed,
        )
        with SearchRecord.open(self.record_path, header) as record:
            progress = SearchProgress(
                self.runner.logger,
                self.supernet.search_space,
                total=self.generations * self.population,
                metric=self.metric,
                done=len(record.candidates),
            )
            evaluator = LocalEvaluator(self._score, self.metric)
            for generation in range(self.generations):
                self._run_generation(generation, record, evaluator, progress)
            best = best_candidate(record.candidates)
            if best is None:
                raise RuntimeError(
                    'all candidates of the search failed, the last one with '
                    f'{record.candidates[-1].error}'
                )
            self._write_results(best)
            progress.finish(best, self.runner.work_dir)
        return dict(best.metrics)

    def _run_generation(
        self,
        generation: int,
        record: SearchRecord,
        evaluator: LocalEvaluator,
        progress: SearchProgress,
    ) -> None:
        """Evaluates what is not in the record yet, and tells all of it."""
        proposals = self.algorithm.propose()
        start = generation * self.population
        done = record.candidates[start : start + self.population]
        self._require_same_paths(done, proposals, record)
        rest = proposals[len(done) :]
        evaluations = evaluator.evaluate([one.path for one in rest])
        for proposal, evaluation in zip(rest, evaluations, strict=True):
            candidate = self._candidate(
                len(record.candidates), generation, proposal, evaluation
            )
            record.append(candidate)
            best = best_candidate(record.candidates)
            progress.report(candidate, best)
            if best is candidate:
                self._write_results(best)
            self._stop_if_all_fail(record)
        generated = record.candidates[start : start + self.population]
        self.algorithm.tell(
            [one.path for one in proposals],
            [candidate.fitness for candidate in generated],
        )
        if rest:
            progress.report_generation(generation, record.candidates)

    def _score(self, path: Path) -> dict[str, float]:
        """Validates the detector with a path."""
        metrics = self.evaluator.metrics
        with (
            self.supernet.activate(path),
            unrounded(metrics),
            _quiet(self.runner.logger),
        ):
            return self.val_loop.run()

    def _candidate(
        self,
        index: int,
        generation: int,
        proposal: Proposal,
        evaluation: Evaluation,
    ) -> Candidate:
        table = self.constraint.table
        return Candidate(
            index=index,
            generation=generation,
            origin=proposal.origin,
            path=self.supernet.search_space.format(proposal.path),
            macs=table.macs(proposal.path),
            params=table.params(proposal.path),
            fitness=evaluation.fitness,
            metrics=evaluation.metrics,
            seconds=evaluation.seconds,
            status=Status.COMPLETE
            if evaluation.error is None
            else Status.FAILED,
            error=evaluation.error,
        )

    def _build_algorithm(self) -> SearchAlgorithm:
        settings = dict(self.settings)
        kinds = {'evolution': Evolution, 'random': RandomSearch}
        kind = settings.pop('type')
        if kind not in kinds:
            raise ValueError(
                f'`algorithm` must be one of {", ".join(kinds)}, got {kind!r}'
            )
        return kinds[kind](
            self.supernet.search_space,
            is_legal=self.constraint.is_legal,
            seed=self.seed,
            **settings,
        )

    def _load_supernet(self, runner: Runner) -> None:
        """Loads the checkpoint, which must have all of the weights."""
        checkpoint = runner.cfg.get('load_from')
        if not checkpoint:
            raise ValueError(
                'a search needs the checkpoint of a trained supernet: '
                'tools/search.py CONFIG CHECKPOINT, or `load_from`'
            )
        model = unwrap(runner.model)
        state_dict = load_state_dict(checkpoint)
        require_matching_keys(model, state_dict, str(checkpoint))
        model.load_state_dict(state_dict)

    def _set_constraint(self, constraint: Constraint) -> None:
        constraint.require_legal_paths(self.generations * self.population)
        self.constraint = constraint
        self.algorithm = self._build_algorithm()

    def _require_same_paths(
        self,
        done: list[Candidate],
        proposals: list[Proposal],
        record: SearchRecord,
    ) -> None:
        format_path = self.supernet.search_space.format
        for candidate, proposal in zip(done, proposals, strict=False):
            if candidate.path != format_path(proposal.path):
                raise ValueError(
                    f'candidate {candidate.index} of {record.path} is '
                    f'{candidate.path}, but this search asks for '
                    f'{format_path(proposal.path)}: the record was changed, '
                    'or written by another version; use another work dir'
                )

    def _stop_if_all_fail(self, record: SearchRecord) -> None:
        last = record.candidates[-self.max_failures :]
        if len(last) == self.max_failures and all(
            candidate.status is Status.FAILED for candidate in last
        ):
            raise RuntimeError(
                f'{self.max_failures} candidates in a row failed, the last '
                f'one with {last[-1].error}; mend the cause and go on with '
                '--resume'
            )

    def _write_results(self, best: Candidate) -> None:
        write_results(
            self.runner.work_dir,
            best,
            self.supernet.search_space,
            self.metric,
            self.supernet.shuffle,
        )


def _require_new_record(path: FilePath, resume: bool) -> None:
    if path.exists() and not resume:
        raise FileExistsError(
            f'{path.parent} already holds a search; go on with it by '
            '--resume, or use another --work-dir'
        )


def _require_bn_recalibration(runner: Runner) -> None:
    if not any(isinstance(h, BNRecalibrationHook) for h in runner.hooks):
        raise ValueError(
            'a search needs BNRecalibrationHook: the running statistics of a '
            'supernet fit none of its paths; add '
            "dict(type='detnas_mm.BNRecalibrationHook') to `custom_hooks`"
        )


@contextlib.contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Keeps the evaluator's tables of each candidate off the screen."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
