"""The settings of a search: ``val_cfg`` of its config."""

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from mmengine.registry import Registry

from detnas_mm.cost import Constraint
from detnas_mm.models import resolve_architecture
from detnas_mm.registry import ALGORITHMS
from detnas_mm.search import (
    NSGA2,
    Evolution,
    FixedPaths,
    RandomSearch,
    SearchAlgorithm,
    SurrogateEvolution,
)
from detnas_mm.structures import COSTS, ArchPath, SearchSpace, costs_among
from detnas_mm.utils.errors import InputError

_BUILT_IN = (Evolution, SurrogateEvolution, RandomSearch, NSGA2, FixedPaths)
for _algorithm in _BUILT_IN:
    ALGORITHMS.register_module(module=_algorithm)

# Settings of version 0.1, and what to write now.
_OLD_SETTINGS = {
    **dict.fromkeys(
        (
            'population',
            'parents',
            'mutation_prob',
            'num_mutation',
            'num_crossover',
            'num_random',
        ),
        "it is in algorithm=dict(type='Evolution', {name}=...) now",
    ),
    'paths': "use algorithm=dict(type='FixedPaths', paths=...)",
    'minimise': "use objectives=[...] and algorithm=dict(type='NSGA2')",
    'maximise': "use objectives=[...] and algorithm=dict(type='NSGA2')",
    'race': 'it was removed, candidates are always scored to the end',
    'chunk': 'it was removed, candidates are scored one at a time',
}


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a candidate is trained, instead of scored by the supernet.

    Attributes:
        seeds: Trainings of each candidate, with seeds from 0.
        share: Share of the schedule of the config, more than 0.
        test: Whether the metrics on the test split are recorded, too. They
            do not count for the score.
    """

    seeds: int = 2
    share: float = 0.25
    test: bool = False

    def __post_init__(self) -> None:
        if type(self.seeds) is not int or self.seeds < 1:
            raise InputError(
                '`training.seeds` must be a whole number of at least 1, got '
                f'{self.seeds!r}'
            )
        if not 0 < self.share < math.inf:
            raise InputError(
                '`training.share` must be more than 0, such as 0.25 for a '
                f'quarter of the schedule, got {self.share!r}'
            )


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """What ``val_cfg`` of a search may hold.

    Attributes:
        metric: Key of the metric that is the fitness, higher is better, such
            as ``'coco/bbox_mAP'``, ``'pascal_voc/mAP'``, ``'accuracy/top1'``.
        objectives: Further objectives beside ``metric``: costs to be low
            (``'macs'``, ``'params'``, ``'latency'``), other metrics to be
            high. They need an algorithm for several objectives
            (``'NSGA2'``); the Pareto front is then written to ``front``.
        generations: Number of generations.
        constraint: Bounds on the cost, see
            :func:`detnas_mm.engine.search.constraint.build_constraint`.
        algorithm: Type and settings of the search algorithm: ``Evolution``,
            ``SurrogateEvolution``, ``RandomSearch`` (the paper's baseline),
            ``NSGA2``, ``FixedPaths`` (scores the ``paths`` given), or another
            class of the registry ``ALGORITHMS``.
        executor: Type and settings of what evaluates the candidates:
            ``Serial``, ``Ray``, with a launcher ``Launched``, or another
            class of the registry ``EXECUTORS``.
        training: ``seeds`` and ``share`` of :class:`TrainingSettings`, to
            train each candidate instead of scoring it by the supernet.
        reuse: Records of earlier searches, or their work dirs, whose scores
            are taken over, see :mod:`detnas_mm.engine.search.reuse`.
        patience: Number of generations without a better candidate (with
            objectives: without one on the front) that end the search; 0 runs
            all of them.
        seed: Seed of every random choice of the search.
        lookahead: Number of generations that may start before the current
            one finishes. Keeps workers busy; parents are then that many
            generations older.
        max_failures: Number of consecutive failed candidates that end the
            search.
        fp16: Whether to run the model under autocast, as MMEngine's
            ``ValLoop`` does.
        cache_gb: Memory of each process for decoded images, in GB. If the
            calibration images or those of the search split fit, they are
            read from the disk once.
        resume: Whether to resume the search in the work dir.
        overwrite: Whether to replace the search in the work dir.
        launcher: How the processes of the search were started: ``'none'``,
            ``'pytorch'``, ``'slurm'`` or ``'mpi'``.
        evaluate_only: Whether this process evaluates for a search elsewhere.
    """

    metric: str
    objectives: Sequence[str] = ()
    generations: int = 20
    constraint: Mapping = field(default_factory=dict)
    algorithm: Mapping = field(default_factory=dict)
    executor: Mapping = field(default_factory=dict)
    training: TrainingSettings | None = None
    reuse: Sequence[str] = ()
    patience: int = 0
    seed: int = 0
    lookahead: int = 0
    max_failures: int = 10
    fp16: bool = False
    cache_gb: float = 2.0
    resume: bool = False
    overwrite: bool = False
    launcher: str = 'none'
    evaluate_only: bool = False

    @classmethod
    def from_config(cls, settings: Mapping[str, Any]) -> 'SearchSettings':
        """Reads the settings of a config.

        Raises:
            InputError: If a setting is unknown, missing or out of its range.
        """
        for name in filter(_OLD_SETTINGS.get, settings):
            advice = _OLD_SETTINGS[name].format(name=name)
            raise InputError(
                f'`val_cfg.{name}` is no longer a setting: {advice}'
            )
        require_known(settings, [f.name for f in fields(cls)], 'val_cfg')
        settings = {k: v for k, v in settings.items() if v is not None}
        training = settings.get('training')
        if training is not None:
            names = [f.name for f in fields(TrainingSettings)]
            require_known(training, names, 'val_cfg.training')
            settings['training'] = TrainingSettings(**training)
        if 'metric' not in settings:
            raise InputError(
                '`val_cfg` needs `metric`, the key of the metric that is the '
                "fitness, such as 'coco/bbox_mAP'"
            )
        return cls(**settings)

    def __post_init__(self) -> None:
        for name, kind, example in (
            ('constraint', Mapping, 'dict(max_macs=300e6)'),
            ('algorithm', Mapping, "dict(type='Evolution', population=50)"),
            ('executor', Mapping, "dict(type='Ray')"),
            ('objectives', list | tuple, "['macs']"),
            ('reuse', list | tuple, "['work_dirs/earlier_search']"),
            ('fp16', bool, 'True'),
        ):
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise InputError(
                    f'`val_cfg.{name}` must be such as {example}, got '
                    f'{value!r}'
                )
        for name, least in (
            ('generations', 1),
            ('patience', 0),
            ('seed', 0),
            ('lookahead', 0),
            ('max_failures', 1),
            ('cache_gb', 0),
        ):
            value = getattr(self, name)
            kinds = (int, float) if name == 'cache_gb' else (int,)
            if type(value) not in kinds or value < least:
                raise InputError(
                    f'`val_cfg.{name}` must be a number of at least {least}, '
                    f'got {value!r}'
                )
        if self.resume and self.overwrite:
            raise InputError('`resume` and `overwrite` exclude each other')
        names = (self.metric, *self.objectives)
        if len(set(names)) < len(names) or self.metric in COSTS:
            raise InputError(
                '`metric` must not be a cost, and no name may appear twice in '
                f'`metric` and `objectives`, got {", ".join(names)}'
            )


def require_known(settings: object, known: Sequence[str], where: str) -> None:
    """Checks that settings are a dict of known names."""
    if not isinstance(settings, Mapping):
        raise InputError(
            f'`{where}` must be a dict of {", ".join(known)}, got {settings!r}'
        )
    for name in settings:
        if name not in known:
            raise InputError(
                f'`{where}` has no setting {name!r}; it takes '
                f'{", ".join(known)}'
            )


def build_algorithm(
    settings: SearchSettings, constraint: Constraint
) -> tuple[SearchAlgorithm, dict]:
    """Builds the search algorithm.

    The constructor gets by name what it declares of ``space``, ``is_legal``,
    ``seed`` and ``costs`` (a function of a path).

    Args:
        settings: The settings of the search.
        constraint: The bounds, which know the costs of a path.

    Returns:
        The algorithm, and its type and settings with all defaults.

    Raises:
        InputError: If a setting is unknown or out of its range, or settings
            do not fit together.
    """
    algorithm = {'type': 'Evolution', **settings.algorithm}
    space = constraint.space
    if 'paths' in algorithm:
        algorithm['paths'] = _read_paths(algorithm['paths'], space)
    offered = dict(
        space=space,
        is_legal=constraint.is_legal,
        seed=settings.seed,
        costs=_costs_of_path(constraint, costs_among(settings.objectives)),
    )
    built, complete = build_part(ALGORITHMS, 'algorithm', algorithm, offered)
    if bool(settings.objectives) != takes_objectives(built) and type(
        built
    ) not in (RandomSearch, SurrogateEvolution, FixedPaths):
        raise InputError(
            f'`val_cfg.objectives` {list(settings.objectives)} and '
            f'`algorithm` {complete["type"]} do not fit together: use '
            '`objectives` with NSGA2 or SurrogateEvolution, and NSGA2 with '
            '`objectives`'
        )
    return built, complete


def takes_objectives(algorithm: SearchAlgorithm) -> bool:
    """Returns True if an algorithm takes several objectives of a path."""
    return 'costs' in inspect.signature(type(algorithm)).parameters


def build_part(
    registry: Registry, key: str, settings: Mapping, offered: Mapping
) -> tuple[Any, dict]:
    """Builds an algorithm or executor.

    Args:
        registry: Where its type is looked up.
        key: Its setting in ``val_cfg``, for messages.
        settings: Its type and settings.
        offered: What its constructor gets by name, if it declares it.

    Returns:
        The object, and its type and settings with all defaults.

    Raises:
        InputError: If the type or a setting is unknown, or one is missing.
    """
    settings = dict(settings)
    kind = settings.pop('type', None)
    # The registry itself would import a module of this name.
    name = getattr(kind, '__name__', str(kind).removeprefix('detnas_mm.'))
    cls = kind if inspect.isclass(kind) else registry.module_dict.get(name)
    if cls is None:
        raise InputError(
            f'`val_cfg.{key}` has no type {name!r}; it is one of '
            f'{", ".join(registry.module_dict)}'
        )
    declared = inspect.signature(cls).parameters
    own = {k: p.default for k, p in declared.items() if k not in offered}
    missing = [
        k for k, v in own.items() if v is inspect._empty and k not in settings
    ]
    unknown = [k for k in settings if k not in own]
    if missing or unknown:
        raise InputError(
            f'`val_cfg.{key}` {name} takes {", ".join(own) or "no settings"}; '
            f'got {", ".join(settings) or "none"}: '
            + '; '.join(
                f'{", ".join(names)} {what}'
                for names, what in ((unknown, 'unknown'), (missing, 'missing'))
                if names
            )
        )
    complete = {'type': name, **own, **settings}
    given = {k: v for k, v in offered.items() if k in declared}
    return cls(**given, **settings), complete


def _read_paths(texts: Sequence[str], space: SearchSpace) -> list[str]:
    """Reads digits, published names and ``best.json`` files as digits."""
    texts = [texts] if isinstance(texts, str) else map(str, texts)
    digits = []
    for text in texts:
        compact = text.replace(' ', '')
        if not compact.isdigit():
            compact = space.format(resolve_architecture(text, space).path)
        digits.append(compact)
    return digits


def _costs_of_path(constraint: Constraint, names: Sequence[str]) -> Any:
    """Returns a function that looks up the costs of a path."""
    if 'latency' in names and constraint.latency_table is None:
        raise InputError(
            'the objective latency needs `latency=dict(table=FILE)` in '
            '`val_cfg.constraint`; measure one by '
            'tools/analysis_tools/measure_latency.py'
        )
    lookups = [getattr(constraint, name) for name in names]

    def costs(path: ArchPath) -> list[float]:
        return [lookup(path) for lookup in lookups]

    return costs
