"""The constraint of a search, from its config."""

import logging
from collections.abc import Mapping
from dataclasses import fields

from mmengine.logging import print_log
from torch import nn
from torch.utils.data import DataLoader

from detnas_mm.cost import Bounds, Constraint, LatencyTable
from detnas_mm.cost.latency_table import EAGER
from detnas_mm.cost.macs import read_size
from detnas_mm.engine.search.settings import require_known
from detnas_mm.models import (
    DetNASSupernet,
    count_rest_of_detector,
    find_supernet,
    unwrap_model,
)
from detnas_mm.models.complexity import exact_cost_table
from detnas_mm.structures import Cost
from detnas_mm.utils.errors import InputError

_BOUNDS = tuple(
    field.name for field in fields(Bounds) if 'latency' not in field.name
)
_OTHER_SETTINGS = ('input_size', 'whole_detector', 'latency')
_LATENCY_SETTINGS = (
    'table',
    'min_ms',
    'max_ms',
    'input_size',
    'whole_detector',
    'force',
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
            split. ``latency`` is a dict of ``table``, the file of a
            :class:`detnas_mm.cost.LatencyTable`, and optionally ``min_ms``,
            ``max_ms``, ``input_size``, the size at which the table must have
            been measured, ``whole_detector=True`` to add the measured neck
            and heads, and ``force=True`` to use a table that failed its
            check.

    Raises:
        InputError: If a setting is unknown, of another type or out of its
            range, or the table is of another supernet or size.
    """
    latency = settings.get('latency') or {}
    where = 'val_cfg.constraint'
    require_known(settings, (*_BOUNDS, *_OTHER_SETTINGS), where)
    require_known(latency, _LATENCY_SETTINGS, f'{where}.latency')
    model = unwrap_model(model)
    supernet = find_supernet(model)
    bounds = _build_bounds(settings, latency)
    input_size = read_size(settings.get('input_size', (224, 224)))
    rest = Cost(0, 0)
    if settings.get('whole_detector'):
        # Neck and heads cost the same for every path. The size is that at
        # which the detector sees its images.
        image = dataloader.collate_fn([dataloader.dataset[0]])
        with supernet.activate(next(supernet.search_space.all_paths())):
            rest, input_size = count_rest_of_detector(model, image)
    return Constraint(
        supernet.search_space,
        bounds,
        input_size=input_size,
        table=exact_cost_table(supernet.search_space, input_size),
        rest=rest,
        latency_table=_load_latency_table(latency, supernet),
        adds_rest=bool(latency.get('whole_detector')),
    )


def _build_bounds(settings: Mapping, latency: Mapping) -> Bounds:
    bounds = {name: settings[name] for name in _BOUNDS if name in settings}
    ends = {name: latency.get(name) for name in ('min_ms', 'max_ms')}
    named = bounds | {f'latency.{name}': end for name, end in ends.items()}
    for name, value in named.items():
        if not isinstance(value, int | float | None) or value != value:
            raise InputError(
                f'`val_cfg.constraint.{name}` must be a number such as 300e6, '
                f'got {value!r}'
            )
    return Bounds(
        **bounds, min_latency=ends['min_ms'], max_latency=ends['max_ms']
    )


def _load_latency_table(
    settings: Mapping, supernet: DetNASSupernet
) -> LatencyTable | None:
    file = settings.get('table')
    if file is None:
        return None
    table = LatencyTable.load(file)
    expected = {
        'search space': (table.search_space, supernet.search_space),
        'shuffle': (table.shuffle, supernet.shuffle),
    }
    size = settings.get('input_size')
    if size is not None:
        expected['input size'] = (table.input_size, tuple(size))
    for what, (measured, wanted) in expected.items():
        if measured != wanted:
            raise InputError(
                f'the latency table {file} was measured with {what} '
                f'{measured}, but the search has {wanted}'
            )
    if settings.get('whole_detector') and table.rest is None:
        raise InputError(
            f'the latency table {file} has no latency of neck and heads, '
            'which `whole_detector` needs: measure it with a runtime and the '
            'config of a detector, or leave `whole_detector` out'
        )
    if table.verdict.startswith('bad') and not settings.get('force'):
        raise InputError(
            f'the latency table {file} failed its check ({table.verdict}): '
            'measure it again when nothing else runs on the device, or with '
            'more --rounds; to use it anyway, give --force'
        )
    warnings = [table.verdict] if table.verdict else []
    if table.runtime == EAGER:
        warnings.append(
            "it is of PyTorch's eager mode, and the runtime that is deployed "
            'may rank networks otherwise: measure one by measure_latency.py '
            '--runtime'
        )
    for warning in warnings:
        print_log(
            f'latency table {file}: {warning}', 'current', logging.WARNING
        )
    return table
