"""The parts of a config beside the model: are they there as it says?"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import get_args, get_origin

from mmengine.config import Config
from mmengine.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    LOOPS,
    METRICS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    TRANSFORMS,
    VISBACKENDS,
    VISUALIZERS,
    Registry,
    init_default_scope,
)
from torch.utils.data import DataLoader

from detnas_mm.utils.error_lines import (
    accepted_settings,
    unknown_name,
    unknown_setting,
)
from detnas_mm.utils.errors import InputError

# What MMEngine takes out of the settings itself.
_TAKEN_OUT = {
    'type',
    '_scope_',
    # Of a hook,
    'priority',
    # of a loop,
    'by_epoch',
    # of a scheduler,
    'convert_to_iter_based',
    # of a data loader,
    'num_batch_per_epoch',
    # and of an optimizer wrapper.
    'paramwise_cfg',
}
# What is said of a value that a setting is annotated to have, and the types
# that fit; a bool is no number.
_KINDS = {
    bool: ('True or False', bool),
    int: ('a whole number', int),
    float: ('a number', int | float),
    str: ('text', str),
    Mapping: ('a dict', Mapping),
    Sequence: ('a list', list | tuple),
    NoneType: ('None', NoneType),
}
Part = tuple[Registry, Mapping]


def require_known_parts(config: Config, parts: Sequence[str]) -> None:
    """Checks the names in a config, and the names of their settings.

    Those of the model are seen when it is built.

    Args:
        config: The config.
        parts: What is needed of it, of ``'train'``, ``'val'``, ``'test'``.

    Raises:
        InputError: If one is unknown.
    """
    # Else only what is imported already would be found.
    init_default_scope(config.get('default_scope') or 'mmdet')
    for registry, settings in _built_parts(config, parts):
        built = built_type(registry, settings)
        if built is not None:
            _require_known_settings(built, settings)
    for part in parts:
        loader = config.get(f'{part}_dataloader') or {}
        _require_known_settings(DataLoader, loader)


def built_type(registry: Registry, settings: Mapping) -> Callable | None:
    """Returns the class that MMEngine builds from settings.

    Args:
        registry: Where their type is looked up, in the default scope.
        settings: The settings.

    Returns:
        The class or function; ``None`` if they have no type.

    Raises:
        InputError: If there is none of that name.
    """
    name = settings.get('type')
    if not isinstance(name, str):
        return name
    scope = settings.get('_scope_')
    with registry.switch_scope_and_registry(scope) as scoped:
        # MMEngine would call what it has not found.
        built = scoped.get(name)
    if built is None:
        raise InputError(unknown_name(name, scoped.name))
    return built


def evaluators_of(config: Config, part: str) -> list[Mapping]:
    """Returns the settings of the evaluators of a part, such as ``'val'``.

    One that holds others, such as mmdet's ``MultiDatasetsEvaluator``, is
    replaced by what it holds.
    """
    evaluators = _settings_in(config.get(f'{part}_evaluator'))
    if len(evaluators) == 1:
        return _settings_in(evaluators[0].get('metrics')) or evaluators
    return evaluators


def datasets_of(config: Config, part: str) -> Iterator[tuple[str, Mapping]]:
    """Yields key and settings of the data sets that read files."""
    loader = config.get(f'{part}_dataloader') or {}
    key = f'{part}_dataloader.dataset'
    yield from _datasets_below(loader.get('dataset') or {}, key)


def _datasets_below(
    dataset: Mapping, key: str
) -> Iterator[tuple[str, Mapping]]:
    """Yields a data set, or those that are wrapped in it."""
    if not isinstance(dataset, Mapping):
        raise InputError(f'`{key}` must be a dict, got {dataset!r}')
    if 'dataset' in dataset:
        yield from _datasets_below(dataset['dataset'], f'{key}.dataset')
    elif 'datasets' in dataset:
        for index, one in enumerate(dataset['datasets']):
            yield from _datasets_below(one, f'{key}.datasets.{index}')
    else:
        yield key, dataset


def _built_parts(config: Config, parts: Sequence[str]) -> Iterator[Part]:
    yield from _each(HOOKS, _custom_hooks(config))
    default_hooks = config.get('default_hooks') or {}
    yield from _each(HOOKS, [*default_hooks.values()])
    visualizer = config.get('visualizer') or {}
    yield from _each(VISUALIZERS, visualizer)
    yield from _each(VISBACKENDS, visualizer.get('vis_backends'))
    for part in parts:
        yield from _each(LOOPS, _loop(config, part))
        yield from _each(METRICS, evaluators_of(config, part))
        yield from _data_parts(config, part)
    if 'train' in parts:
        yield from _each(PARAM_SCHEDULERS, config.get('param_scheduler'))
        yield from _optimizer_parts(config)


def _optimizer_parts(config: Config) -> Iterator[Part]:
    wrapper = dict(config.get('optim_wrapper') or {})
    yield OPTIMIZERS, wrapper.get('optimizer') or {}
    # A constructor may have any settings.
    if 'constructor' not in wrapper:
        yield OPTIM_WRAPPERS, dict(type='OptimWrapper') | wrapper


def _data_parts(config: Config, part: str) -> Iterator[Part]:
    loader = config.get(f'{part}_dataloader') or {}
    yield from _each(DATA_SAMPLERS, loader.get('sampler'))
    yield from _each(DATA_SAMPLERS, loader.get('batch_sampler'))
    for _, dataset in datasets_of(config, part):
        yield from _each(DATASETS, dataset)
        yield from _each(TRANSFORMS, dataset.get('pipeline'))


def _each(registry: Registry, settings: object) -> Iterator[Part]:
    for one in _settings_in(settings):
        yield registry, one


def _settings_in(settings: object) -> list[Mapping]:
    """Returns the settings of one part or of several, not what is built."""
    each = [settings] if isinstance(settings, Mapping) else settings
    if not isinstance(each, list | tuple):
        return []
    return [one for one in each if isinstance(one, Mapping)]


def _custom_hooks(config: Config) -> Sequence:
    hooks = config.get('custom_hooks') or ()
    if not isinstance(hooks, list | tuple) or str in map(type, hooks):
        raise InputError(
            f'`custom_hooks` must be a list of hooks, got {hooks}; options '
            'can change only hooks that the config has'
        )
    return hooks


def _loop(config: Config, part: str) -> Mapping:
    """Returns the settings of a loop with the type that MMEngine fills in."""
    settings = config.get(f'{part}_cfg') or {}
    by_epoch = settings.get('by_epoch', True)
    default = dict(
        train='EpochBasedTrainLoop' if by_epoch else 'IterBasedTrainLoop',
        val='ValLoop',
        test='TestLoop',
    )
    return dict(type=default[part]) | dict(settings)


def _require_known_settings(built: Callable, settings: Mapping) -> None:
    known, takes_others = accepted_settings(built)
    for key, value in settings.items():
        if key in _TAKEN_OUT:
            continue
        if key not in known and not takes_others:
            raise InputError(unknown_setting(built, key))
        # The annotations of others are not as strict as ours.
        if built.__module__.startswith('detnas_mm.'):
            _require_fitting_value(built, key, value)


def _require_fitting_value(built: Callable, key: str, value: object) -> None:
    """Checks a value by the annotation of its setting."""
    setting = inspect.signature(built).parameters[key]
    is_union = isinstance(setting.annotation, UnionType)
    kinds = get_args(setting.annotation) if is_union else [setting.annotation]
    kinds = [get_origin(kind) or kind for kind in kinds]
    if not set(kinds) <= set(_KINDS):
        return
    if not any(_fits(value, kind) for kind in kinds):
        expected = ' or '.join(_KINDS[kind][0] for kind in kinds)
        raise InputError(
            f'`{key}` of {built.__name__} must be {expected}, got {value!r}'
        )


def _fits(value: object, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, _KINDS[kind][1])
