"""Exact costs of the blocks of any search space."""

from detnas_mm.cost import cost_table
from detnas_mm.models import measured_cost_table
from detnas_mm.structures import SHUFFLE_CHOICES, CostTable, SearchSpace


def exact_cost_table(
    space: SearchSpace, input_size: tuple[int, int] = (224, 224)
) -> CostTable:
    """Returns the costs of a space: by formula, or counted on its blocks.

    Args:
        space: The search space; of the paper's choice blocks, or of any that
            are registered.
        input_size: Height and width of the image.
    """
    if set(space.choices) <= set(SHUFFLE_CHOICES):
        return cost_table(space, input_size)
    return measured_cost_table(space, input_size)
