"""The constraint of a search, from its config."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import fields

from mmengine.logging import print_log
from torch import nn
from torch.utils.data import DataLoader

from detnas_mm.cost import Bounds, Constraint, LatencyTable
from detnas_mm.models import (
    DetNASSupernet,
    count_rest_of_detector,
    find_supernet,
    unwrap_model,
)
from detnas_mm.models.complexity import exact_cost_table
from detnas_mm.utils.errors import InputError

_BOUNDS = tuple(field.name for field in fields(Bounds))
_OTHER_SETTINGS = (
    'input_size',
    'latency_table',
    'latency_input_size',
    'whole_detector',
)


def build_constraint(
    model: nn.Module, dataloader: DataLoader, settings: Mapping
) -> Constraint:
    """Builds the constraint of a search.

    Args:
        model: The detector with its supernet.
        dataloader: The data loader of the search split.
        settings: Any of ``min_macs``, ``max_macs``, ``min_params`` and
            ``max_params``, on the backbone alone, with ``input_size``, the
            height and width at which MACs are counted, by default 224 x 224
            as in the paper. With ``whole_detector=True`` the bounds are on
            the whole detector at the size of the first image of the search
            split. ``min_latency`` and ``max_latency`` in ms of the backbone,
            with ``latency_table``, the file of a
            :class:`detnas_mm.cost.LatencyTable`, and ``latency_input_size``,
            the size at which it must have been measured, by default any.

    Raises:
        InputError: If a setting is unknown, of another type or out of its
            range, or the table is of another supernet or size.
    """
    known = (*_BOUNDS, *_OTHER_SETTINGS)
    for name in settings:
        if name not in known:
            raise InputError(
                f'`val_cfg.constraint` has no setting {name!r}; it takes '
                f'{", ".join(known)}'
            )
    model = unwrap_model(model)
    supernet = find_supernet(model)
    bounds = _build_bounds(settings)
    input_size = _read_size(settings.get('input_size', (224, 224)))
    rest = None
    if settings.get('whole_detector'):
        # The size at which the detector sees its images.
        rest, input_size = _count_rest(model, supernet, dataloader)
    return Constraint(
        supernet.search_space,
        bounds,
        input_size=input_size,
        table=exact_cost_table(supernet.search_space, input_size),
        rest=rest,
        latency_table=_load_latency_table(settings, supernet),
    )


def _build_bounds(settings: Mapping) -> Bounds:
    bounds = {name: settings[name] for name in _BOUNDS if name in settings}
    for name, value in bounds.items():
        if not isinstance(value, int | float | None) or value != value:
            raise InputError(
                f'`val_cfg.constraint.{name}` must be a number such as 300e6, '
                f'got {value!r}'
            )
    return Bounds(**bounds)


def _read_size(size: object) -> tuple[int, int]:
    is_pair = isinstance(size, Sequence) and len(size) == 2
    if not is_pair or not all(isinstance(side, int) for side in size):
        raise InputError(
            '`val_cfg.constraint.input_size` must be height and width such '
            f'as (224, 224), got {size!r}'
        )
    return tuple(size)


def _count_rest(
    model: nn.Module, supernet: DetNASSupernet, dataloader: DataLoader
) -> tuple:
    """Counts neck and heads, which cost the same for every path."""
    image = dataloader.collate_fn([dataloader.dataset[0]])
    with supernet.activate(next(supernet.search_space.all_paths())):
        return count_rest_of_detector(model, image)


def _load_latency_table(
    settings: Mapping, supernet: DetNASSupernet
) -> LatencyTable | None:
    file = settings.get('latency_table')
    if file is None:
        return None
    table = LatencyTable.load(file)
    expected = {
        'search space': (table.search_space, supernet.search_space),
        'shuffle': (table.shuffle, supernet.shuffle),
    }
    size = settings.get('latency_input_size')
    if size is not None:
        expected['input size'] = (table.input_size, tuple(size))
    for what, (measured, wanted) in expected.items():
        if measured != wanted:
            raise InputError(
                f'`latency_table` {file} was measured with {what} {measured}, '
                f'but the search has {wanted}'
            )
    if table.is_inaccurate:
        print_log(
            f'latency_table {file} had an error of {table.check["mape"]:.0%} '
            'where it was checked: measure it again when nothing else runs on '
            'the device, or with more --rounds',
            'current',
            logging.WARNING,
        )
    return table
