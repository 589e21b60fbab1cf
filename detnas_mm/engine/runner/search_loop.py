"""The search as a loop of MMEngine's Runner (Section 3.4, Algorithm 2)."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.device import get_device
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop
from torch.utils.data import DataLoader

from detnas_mm.engine.runner.search_run import (
    SearchRun,
    drop_final_failures,
    open_journal,
)
from detnas_mm.engine.runner.search_validation import build_validation
from detnas_mm.engine.search.constraint import extend_to_detector
from detnas_mm.engine.search.executors import executor_settings, open_executor
from detnas_mm.engine.search.header import build_search_header
from detnas_mm.engine.search.plan import plan_search
from detnas_mm.engine.search.progress import SearchProgress
from detnas_mm.engine.search.results import build_results
from detnas_mm.engine.search_checks import (
    find_bn_recalibration,
    load_supernet,
    no_empty_split,
    require_new_record,
)
from detnas_mm.evaluation.precision import require_precision
from detnas_mm.executors.base import CandidateEvaluator, LocalEvaluator
from detnas_mm.executors.job import connect, job_rank
from detnas_mm.executors.peer import serve
from detnas_mm.models import DetNASSupernet, find_supernet
from detnas_mm.registry import LOOPS
from detnas_mm.structures import RECORD, Candidate, SearchHeader, SearchRecord
from detnas_mm.utils.errors import InputError


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
            :func:`detnas_mm.engine.search.constraint.build_constraint`.
        algorithm: ``'evolution'``, ``'random'`` for the paper's baseline, or
            ``'given'`` to score ``paths``.
        paths: The paths to score, for the algorithm ``'given'``: digits,
            published names, or the ``best.json`` of searches.
        generations: Number of generations.
        population: Number of paths of a generation.
        parents: Number of the fittest paths that have children.
        mutation_prob: Probability that a choice of a mutated path is
            redrawn.
        num_mutation: Mutated children of a generation.
        num_crossover: Crossed children of a generation.
        num_random: Random paths of each later generation.
        minimise: Costs to be low beside a high fitness, any of ``'macs'``,
            ``'params'`` and ``'latency'``: then the whole Pareto front is
            searched for (NSGA-II), and its points are written to ``front``
            after each generation.
        maximise: Metrics to be high beside ``metric``, with the same effect.
        lookahead: How many generations are begun before one has ended, so
            that no worker is idle. Then parents are of an earlier generation.
        seed: Seed of the search.
        resume: Whether to go on with the search in the work dir.
        overwrite: Whether to drop the search in the work dir.
        max_failures: Failed candidates in a row that end the search.
        race: Whether to drop candidates that cannot become parents before
            they have seen all images; or ``parts`` and ``risk`` of a ``Race``.
        launcher: How the processes of the search were started: ``'none'``
            for this one alone, ``'pytorch'``, ``'slurm'`` or ``'mpi'``. Each
            process evaluates candidates of its own.
        executor: Settings of the executor, see
            :func:`detnas_mm.engine.search.executors.executor_settings`.
        worker: Whether this process only evaluates, for a search elsewhere.
        fp16: Whether to run the detector under autocast; ``'float16'`` or
            ``'bfloat16'`` for another type than MMEngine takes.
        chunk: How many candidates share each batch of images, which is read
            once for all of them. They are recorded together.
        cache_gb: Memory of each process for decoded images, in GB; if those
            for the BN statistics or those of the search split fit, they are
            read from the disk only once.

    Raises:
        InputError: If a setting is out of its range, too few paths keep the
            constraint, or the search split is empty.
        InputError: If the work dir holds a search and neither
            ``resume`` nor ``overwrite`` is set.
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
        minimise: Sequence[str] = (),
        maximise: Sequence[str] = (),
        lookahead: int = 0,
        seed: int = 0,
        resume: bool = False,
        overwrite: bool = False,
        max_failures: int = 10,
        race: bool | Mapping = False,
        launcher: str = 'none',
        executor: Mapping | None = None,
        worker: bool = False,
        fp16: bool | str = False,
        chunk: int = 1,
        cache_gb: float = 2.0,
    ) -> None:
        self.executor = executor_settings(executor, launcher, chunk)
        rank = job_rank(launcher)
        # First of all: should rank 0 refuse to search, the others notice.
        self.job = None if launcher == 'none' else connect()
        self.record_path = Path(runner.work_dir) / RECORD
        if rank == 0 and not worker:
            require_new_record(
                self.record_path, resume, overwrite, runner.logger
            )
        recalibration = find_bn_recalibration(runner)
        self.supernet = find_supernet(runner.model)
        self.metric = metric
        self.results = build_results(
            runner,
            self.supernet,
            metric,
            minimise=minimise,
            maximise=maximise,
        )
        self.plan = plan_search(
            self.supernet,
            constraint=constraint,
            algorithm=algorithm,
            paths=paths,
            generations=generations,
            population=population,
            parents=parents,
            mutation_prob=mutation_prob,
            num_mutation=num_mutation,
            num_crossover=num_crossover,
            num_random=num_random,
            minimise=minimise,
            maximise=maximise,
            lookahead=lookahead,
            race=race,
            seed=seed,
        )
        self.maximise = maximise
        self.lookahead = lookahead
        self.overwrite = overwrite
        self.max_failures = max_failures
        load_supernet(runner)
        with no_empty_split('val_dataloader'):
            super().__init__(runner, dataloader)
        self.chunk = chunk
        self.validation = build_validation(
            runner,
            self.dataloader,
            evaluator,
            recalibration,
            metric=metric,
            race=self.plan.race,
            seed=seed,
            fp16=fp16,
            cache_gb=cache_gb,
        )
        self.constraint = self.plan.constraint
        if self.plan.whole_detector:
            self.constraint = extend_to_detector(
                self.constraint, runner.model, self.dataloader
            )
        self.algorithm = self.plan.build_algorithm(self.constraint)

    def run(self) -> dict:
        """Runs the search, and writes its results.

        Returns:
            The metrics of the best candidate; nothing on other ranks than 0.
        """
        if self.job is None or self.job.rank == 0:
            return self._search()
        serve(
            self.job,
            self.local_evaluator(),
            limits=self.executor,
            header=self.header(),
        )
        return {}

    def header(self) -> SearchHeader:
        """Returns what defines the search, as this process has it."""
        return build_search_header(
            self.runner.cfg,
            checkpoint=self.runner.cfg.load_from,
            supernet=self.supernet,
            constraint=self.constraint,
            algorithm=self.plan.algorithm,
            metric=self.metric,
            seed=self.plan.seed,
            planned=self.plan.total,
        )

    def local_evaluator(self) -> LocalEvaluator:
        """Returns what evaluates candidates in this process."""
        return LocalEvaluator(
            self.validation.score,
            self.metric,
            chunk=self.chunk,
            stopwatch=self.validation.stopwatch,
            further=self.maximise,
        )

    def _search(self) -> dict:
        space = self.supernet.search_space
        with SearchRecord.open(
            self.record_path, self.header(), overwrite=self.overwrite
        ) as record:
            if self.overwrite:
                self.results.remove()
            drop_final_failures(
                record, self.max_failures, self.plan.total, self.runner.logger
            )
            with open_executor(
                self.executor,
                self.local_evaluator(),
                job=self.job,
                journal=open_journal(record, space, anew=self.overwrite),
                config=self.runner.cfg,
                header=record.header,
                logger=self.runner.logger,
            ) as evaluator:
                return dict(self._run(record, evaluator).metrics)

    def _run(
        self, record: SearchRecord, evaluator: CandidateEvaluator
    ) -> Candidate:
        progress = SearchProgress(
            self.runner.logger,
            self.runner.visualizer,
            self.supernet.search_space,
            total=self.plan.total,
            metric=self.metric,
            done=len(record.candidates),
            work_dir=self.runner.work_dir,
        )
        return SearchRun(
            algorithm=self.algorithm,
            constraint=self.constraint,
            evaluator=evaluator,
            record=record,
            progress=progress,
            on_best=self.results.write_best,
            on_generation=self.results.write_front,
            maximise=self.maximise,
            generations=self.plan.generations,
            lookahead=self.lookahead,
            max_failures=self.max_failures,
            race=self.plan.race,
        ).run()


def require_search_settings(
    settings: Mapping, supernet: DetNASSupernet
) -> None:
    """Checks the settings of a search as its loop will, without a Runner.

    Args:
        settings: The config of the loop.
        supernet: The supernet.

    Raises:
        InputError: If they name a file that is not there.
        InputError: If a setting is missing, out of its range, or some do not
            go together.
    """
    if 'metric' not in settings:
        raise InputError(
            '`val_cfg` needs `metric`, the key of the metric that is the '
            "fitness, such as 'coco/bbox_mAP'"
        )
    parameters = inspect.signature(EvolutionSearchLoop).parameters.values()
    values = {one.name: one.default for one in parameters} | dict(settings)
    executor_settings(values['executor'], values['launcher'], values['chunk'])
    require_precision(values['fp16'], get_device())
    planned = inspect.signature(plan_search).parameters.keys() - {'supernet'}
    plan = plan_search(supernet, **{name: values[name] for name in planned})
    if not plan.whole_detector:
        plan.build_algorithm(plan.constraint)
