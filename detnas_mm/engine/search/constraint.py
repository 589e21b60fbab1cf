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
)
from detnas_mm.models.exact_costs import exact_cost_table
from detnas_mm.models.unwrap import unwrap
from detnas_mm.utils.error_lines import suggestion
from detnas_mm.utils.errors import InputError

_OTHER_SETTINGS = (
    'input_size',
    'latency_table',
    'latency_input_size',
    'whole_detector',
)


def build_constraint(
    supernet: DetNASSupernet, settings: Mapping
) -> Constraint:
    """Builds the constraint of a search, which bounds the backbone alone.

    Args:
        supernet: The supernet.
        settings: Any of ``min_macs``, ``max_macs``, ``min_params`` and
            ``max_params``; and ``input_size``, the height and width at which
            MACs are counted, by default 224 x 224 as in the paper. Of
            ``min_latency`` and ``max_latency`` in ms, with ``latency_table``,
            the file of a :class:`detnas_mm.cost.LatencyTable`; and
            ``latency_input_size``, the size at which it must have been
            measured, by default any. ``whole_detector`` is left to
            :func:`extend_to_detector`.

    Raises:
        InputError: If there is no such table.
        InputError: If a setting is unknown, no number or out of its range, or
            the table is that of another supernet or size.
    """
    settings = dict(settings)
    input_size = _read_size(settings.pop('input_size', (224, 224)))
    latency_size = settings.pop('latency_input_size', None)
    latency_file = settings.pop('latency_table', None)
    settings.pop('whole_detector', None)
    bounds = _build_bounds(settings)
    space = supernet.search_space
    latency_table = None
    if latency_file is not None:
        latency_table = LatencyTable.load(latency_file)
        _require_same_blocks(
            latency_table, supernet, latency_size, latency_file
        )
        _warn_of_errors(latency_table, latency_file)
    return Constraint(
        space,
        bounds,
        input_size=input_size,
        table=exact_cost_table(space, input_size),
        latency_table=latency_table,
    )


def _read_size(size: object) -> tuple[int, int]:
    is_pair = isinstance(size, Sequence) and len(size) == 2
    if not is_pair or not all(isinstance(one, int) for one in size):
        raise InputError(
            '`input_size` of the constraint must be height and width such as '
            f'(224, 224), got {size!r}'
        )
    return tuple(size)


def _build_bounds(settings: Mapping) -> Bounds:
    known = [one.name for one in fields(Bounds)]
    for name, value in settings.items():
        if name not in known:
            hint = suggestion(
                # So papers on networks call them.
                name.replace('flops', 'macs'),
                [*known, *_OTHER_SETTINGS],
                f'it takes {", ".join([*known, *_OTHER_SETTINGS])}',
            )
            raise InputError(f'`constraint` has no setting {name!r}; {hint}')
        if not isinstance(value, int | float | None) or value != value:
            raise InputError(
                f'`{name}` of the constraint must be a number such as 300e6, '
                f'got {value!r}'
            )
    return Bounds(**settings)


def _require_same_blocks(
    table: LatencyTable,
    supernet: DetNASSupernet,
    input_size: Sequence[int] | None,
    file: str,
) -> None:
    """Makes sure that a table is that of a supernet and a size of image."""
    expected = {
        'search space': (table.search_space, supernet.search_space),
        'shuffle': (table.shuffle, supernet.shuffle),
    }
    if input_size is not None:
        expected['input size'] = (table.input_size, tuple(input_size))
    for what, (measured, wanted) in expected.items():
        if measured != wanted:
            raise InputError(
                f'`latency_table` {file} was measured with {what} {measured}, '
                f'but the search has {wanted}'
            )


def _warn_of_errors(table: LatencyTable, file: str) -> None:
    if table.is_inaccurate:
        print_log(
            f'latency_table {file} was off by {table.check["mape"]:.0%} where '
            'it was checked: measure it again when nothing else runs on the '
            'device, or with more --rounds',
            'current',
            logging.WARNING,
        )


def extend_to_detector(
    constraint: Constraint, model: nn.Module, dataloader: DataLoader
) -> Constraint:
    """Makes the bounds those of the whole detector, at its input size.

    Neck and heads, which cost the same for every path, are counted on the
    first image of a data loader. A bound on the latency stays one on the
    backbone.

    Args:
        constraint: The constraint on the backbone.
        model: The detector with its weights.
        dataloader: The data loader of the search split.
    """
    model = unwrap(model)
    space = constraint.space
    image = dataloader.collate_fn([dataloader.dataset[0]])
    with find_supernet(model).activate((0,) * space.num_blocks):
        rest, input_size = count_rest_of_detector(model, image)
    return Constraint(
        space,
        constraint.bounds,
        input_size=input_size,
        table=exact_cost_table(space, input_size),
        rest=rest,
        latency_table=constraint.latency_table,
    )
