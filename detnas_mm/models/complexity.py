"""MACs and parameters counted on built networks, by hooks.

Convolutions and linear layers count, as in :mod:`detnas_mm.cost`.
"""

from collections.abc import Callable, Iterable
from functools import partial

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from detnas_mm.cost import cost_table
from detnas_mm.cost.macs import COUNTED_CHOICES
from detnas_mm.models.backbones.base import build_stem
from detnas_mm.models.backbones.choice_blocks import build_block
from detnas_mm.models.backbones.detnas_supernet import find_supernet
from detnas_mm.structures import ArchPath, Cost, CostTable, SearchSpace
from detnas_mm.utils.errors import InputError

_NORM = dict(type='BN')


def count_cost(model: nn.Module, run: Callable[[], object]) -> Cost:
    """Count the MACs of a network that ``run()`` runs, and its parameters."""
    return Cost(_count_macs(model.modules(), run), _count_params(model))


def count_rest_of_detector(
    model: BaseModel, batch: dict
) -> tuple[Cost, tuple[int, int]]:
    """Count everything in a detector except its supernet.

    Args:
        model: The detector, with an active path.
        batch: A batch of one image, as a data loader gives it. The number of
            proposals of a two-stage detector depends on it.

    Returns:
        The cost, and the height and width of the network's input, padding
        included.
    """
    supernet = find_supernet(model)
    inside = set(map(id, supernet.modules()))
    sizes = []
    handle = supernet.register_forward_pre_hook(
        lambda _, inputs: sizes.append(tuple(inputs[0].shape[-2:]))
    )
    try:
        macs = _count_macs(
            (module for module in model.modules() if id(module) not in inside),
            lambda: model.eval().val_step(batch),
        )
    finally:
        handle.remove()
    return Cost(macs, _count_params(model) - _count_params(supernet)), sizes[0]


def _count_params(model: nn.Module) -> int:
    return sum(param.numel() for param in model.parameters())


def _count_macs(
    modules: Iterable[nn.Module], run: Callable[[], object]
) -> int:
    macs = 0

    def count(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        nonlocal macs
        if isinstance(module, nn.Linear):
            macs += output.numel() * module.in_features
        else:
            height, width = module.kernel_size
            channels = module.in_channels // module.groups
            macs += output.numel() * channels * height * width

    handles = [
        module.register_forward_hook(count)
        for module in modules
        if isinstance(module, (nn.Conv2d, nn.Linear))
    ]
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return macs


def exact_cost_table(
    space: SearchSpace, input_size: tuple[int, int] = (224, 224)
) -> CostTable:
    """Return the costs of a space: by formula, or counted on its blocks."""
    if {choice.type for choice in space.choice_blocks} <= COUNTED_CHOICES:
        return cost_table(space, input_size)
    return measured_cost_table(space, input_size)


def extreme_paths(space: SearchSpace) -> tuple[ArchPath, ArchPath]:
    """Return the path of the fewest MACs and the path of the most."""
    rows = exact_cost_table(space).blocks
    smallest, largest = (
        tuple(
            extreme(allowed, key=lambda digit, row=row: row[digit].macs)
            for allowed, row in zip(space.allowed_choices, rows, strict=True)
        )
        for extreme in (min, max)
    )
    return smallest, largest


def measured_cost_table(
    space: SearchSpace, input_size: tuple[int, int] = (224, 224)
) -> CostTable:
    """Count every choice of every block on blocks of the meta device."""
    rows = []
    with torch.device('meta'):
        stem = build_stem(space, _NORM).eval()
        x = torch.empty(1, 3, *input_size)
        stem_cost = count_cost(stem, partial(stem, x))
        features = stem(x)
        for index, allowed in enumerate(space.allowed_choices):
            costs = {}
            for digit in allowed:
                block = build_block(
                    space, index, digit, shuffle='grouped', norm_cfg=_NORM
                ).eval()
                costs[digit] = count_cost(block, partial(block, features))
            rows.append(space.complete_row(costs))
            features = block(features)
    return CostTable(stem_cost, tuple(rows))


@torch.no_grad()
def count_parts(
    model: nn.Module, input_size: tuple[int, int]
) -> dict[str, Cost]:
    """Count the parts of a detector or classifier, for one image.

    A box head is counted on the maximum number of proposals.

    Args:
        model: The model, built on the meta device, with an active path if it
            holds a supernet.
        input_size: Height and width of the network's input, padding
            included.

    Returns:
        Costs by the names of the parts: ``backbone``, ``neck``, and
        ``bbox_head``, or ``rpn_head`` and ``roi_head``, or ``head``.
    """
    model.eval()
    features = torch.empty(1, 3, *input_size, device='meta')
    costs = {}
    for name in ('backbone', 'neck'):
        part = getattr(model, name, None)
        if part is not None:
            costs[name] = count_cost(part, partial(part, features))
            features = part(features)
    roi_head = getattr(model, 'roi_head', None)
    if roi_head is not None:
        rpn = model.rpn_head
        costs['rpn_head'] = count_cost(rpn, partial(rpn, features))
        run = partial(_run_box_heads, roi_head, model.test_cfg.rpn.max_per_img)
        return costs | {'roi_head': count_cost(roi_head, run)}
    for name in ('bbox_head', 'head'):
        head = getattr(model, name, None)
        if head is not None:
            return costs | {name: count_cost(head, partial(head, features))}
    raise InputError(
        f'cannot count {type(model).__name__}: expected a model with '
        'roi_head, bbox_head or head'
    )


def _run_box_heads(roi_head: nn.Module, regions: int) -> None:
    """Run the box head, or each head of a cascade, on empty regions."""
    heads = roi_head.bbox_head
    for head in heads if isinstance(heads, nn.ModuleList) else [heads]:
        size = (regions, head.in_channels, *head.roi_feat_size)
        head(torch.empty(size, device='meta'))
