"""The constraint of a search, from its config."""

from collections.abc import Mapping

from torch import nn
from torch.utils.data import DataLoader

from detnas_mm.cost import Bounds, Constraint
from detnas_mm.models import (
    DetNASSupernet,
    count_rest_of_detector,
    find_supernet,
)

from .exact_costs import exact_cost_table
from .unwrap import unwrap


def build_constraint(
    supernet: DetNASSupernet, settings: Mapping
) -> Constraint:
    """Builds the constraint of a search, which bounds the backbone alone.

    Args:
        supernet: The supernet.
        settings: Any of ``min_macs``, ``max_macs``, ``min_params`` and
            ``max_params``; and ``input_size``, the height and width at which
            MACs are counted, by default 224 x 224 as in the paper.

    Raises:
        ValueError: If a setting is unknown or out of its range.
    """
    settings = dict(settings)
    input_size = tuple(settings.pop('input_size', (224, 224)))
    try:
        bounds = Bounds(**settings)
    except TypeError as error:
        raise ValueError(
            '`constraint` takes min_macs, max_macs, min_params, max_params, '
            f'input_size and whole_detector, got {", ".join(settings)}'
        ) from error
    space = supernet.search_space
    table = exact_cost_table(space, input_size)
    return Constraint(space, bounds, input_size=input_size, table=table)


def extend_to_detector(
    constraint: Constraint, model: nn.Module, dataloader: DataLoader
) -> Constraint:
    """Makes the bounds those of the whole detector, at its input size.

    Neck and heads, which cost the same for every path, are counted on the
    first image of a data loader.

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
    )
