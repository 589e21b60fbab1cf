"""The search as a loop of MMEngine's Runner (Section 3.4, Algorithm 2)."""

import contextlib
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from unittest import mock

from mmengine.evaluator import Evaluator
from mmengine.runner import Runner, ValLoop
from mmengine.runner.base_loop import BaseLoop
from torch.utils.data import DataLoader

from detnas_mm.cost import Constraint
from detnas_mm.evaluation import (
    CandidateEvaluator,
    DistributedEvaluator,
    LocalEvaluator,
    connect,
    job_rank,
    unrounded,
)
from detnas_mm.models import (
    find_supernet,
    load_state_dict,
    require_matching_keys,
)
from detnas_mm.registry import LOOPS
from detnas_mm.search import (
    Evolution,
    GivenPaths,
    RandomSearch,
    SearchAlgorithm,
)
from detnas_mm.structures import Candidate, Path, SearchRecord

from .bn_recalibration_hook import BNRecalibrationHook
from .search_constraint import build_constraint, extend_to_detector
from .search_header import build_search_header
from .search_progress import SearchProgress
from .search_results import write_results
from .search_run import SearchRun
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
        algorithm: ``'evolution'``, ``'random'`` for the paper's baseline, or
            ``'given'`` to score ``paths``.
        paths: The paths to score, for the algorithm ``'given'``.
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
        launcher: How the processes of the search were started: ``'none'``
            for this one alone, ``'pytorch'``, ``'slurm'`` or ``'mpi'``. Each
            process evaluates candidates of its own.
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
        paths: Sequence[str] = (),
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
        launcher: str = 'none',
        fp16: bool = False,
    ) -> None:
        if generations < 1:
            raise ValueError(
                f'`generations` must be at least 1, got {generations}'
            )
        self.record_path = FilePath(runner.work_dir) / RECORD
        self.is_controller = job_rank(launcher) == 0
        if self.is_controller:
            _require_new_record(self.record_path, resume)
        recalibration = _find_bn_recalibration(runner)
        self.supernet = find_supernet(runner.model)
        self.metric = metric
        self.generations = generations
        self.population = population
        self.seed = seed
        self.max_failures = max_failures
        self.launcher = launcher
        self.settings = dict(type=algorithm)
        if algorithm == 'given':
            self.generations, self.population = 1, len(paths)
            self.settings.update(paths=list(paths))
        else:
            self.settings.update(population=population)
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
        recalibration.prepare(runner)
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
            The metrics of the best candidate; nothing on other ranks than 0.
        """
        evaluator = LocalEvaluator(self._score, self.metric)
        if self.launcher == 'none':
            return self._search(evaluator)
        evaluator = DistributedEvaluator(connect(), evaluator)
        if not self.is_controller:
            evaluator.serve()
            return {}
        try:
            return self._search(evaluator)
        finally:
            evaluator.close()

    def _search(self, evaluator: CandidateEvaluator) -> dict:
        space = self.supernet.search_space
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
                self.runner.visualizer,
                space,
                total=self.generations * self.population,
                metric=self.metric,
                done=len(record.candidates),
                work_dir=self.runner.work_dir,
            )
            best = SearchRun(
                algorithm=self.algorithm,
                constraint=self.constraint,
                evaluator=evaluator,
                record=record,
                progress=progress,
                on_best=self._write_results,
                generations=self.generations,
                max_failures=self.max_failures,
            ).run()
        return dict(best.metrics)

    def _score(self, path: Path) -> dict[str, float]:
        """Validates the detector with a path."""
        metrics = self.evaluator.metrics
        for metric in metrics:
            # A validation that broke off leaves its results behind.
            metric.results.clear()
        with (
            self.supernet.activate(path),
            unrounded(metrics),
            _quiet(self.runner),
        ):
            return self.val_loop.run()

    def _build_algorithm(self) -> SearchAlgorithm:
        settings = dict(self.settings)
        kind = settings.pop('type')
        space = self.supernet.search_space
        if kind == 'given':
            return GivenPaths(space, **settings)
        kinds = {'evolution': Evolution, 'random': RandomSearch}
        if kind not in kinds:
            raise ValueError(
                f'`algorithm` must be one of {", ".join(kinds)} or given, got '
                f'{kind!r}'
            )
        return kinds[kind](
            space,
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
        self.constraint = constraint
        if self.settings['type'] != 'given':
            constraint.require_legal_paths(self.generations * self.population)
        self.algorithm = self._build_algorithm()

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


def _find_bn_recalibration(runner: Runner) -> BNRecalibrationHook:
    for hook in runner.hooks:
        if isinstance(hook, BNRecalibrationHook):
            return hook
    raise ValueError(
        'a search needs BNRecalibrationHook: the running statistics of a '
        'supernet fit none of its paths; add '
        "dict(type='detnas_mm.BNRecalibrationHook') to `custom_hooks`"
    )


@contextlib.contextmanager
def _quiet(runner: Runner) -> Iterator[None]:
    """Keeps the evaluator's output of each candidate out of the log.

    To MMEngine's hooks all validations are those of epoch 0; what the
    visualizer gets comes from :class:`SearchProgress`.
    """
    level = runner.logger.level
    runner.logger.setLevel(logging.WARNING)
    ignored = mock.patch.object(runner.visualizer, 'add_scalars')
    try:
        with contextlib.redirect_stdout(io.StringIO()), ignored:
            yield
    finally:
        runner.logger.setLevel(level)
