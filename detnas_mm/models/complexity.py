"""MACs and parameters counted on a built network, by hooks."""

from collections.abc import Callable, Sequence

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from detnas_mm.models.backbones.base import build_stem
from detnas_mm.models.backbones.choice_blocks import build_choice_block
from detnas_mm.models.backbones.detnas_supernet import find_supernet
from detnas_mm.structures import BlockPosition, Cost, CostTable, SearchSpace

_NORM = dict(type='BN')


def count_cost(model: nn.Module, run: Callable[[], object]) -> Cost:
    """Counts what a network multiplies, and all of its parameters.

    Convolutions and linear layers count, as in :mod:`detnas_mm.cost`.

    Args:
        model: The network.
        run: Runs it once.
    """
    params = sum(param.numel() for param in model.parameters())
    return Cost(_count_macs(list(model.modules()), run), params)


def count_rest_of_detector(
    model: BaseModel, batch: dict
) -> tuple[Cost, tuple[int, int]]:
    """Counts what a detector has beside its supernet.

    Args:
        model: The detector, with an active path.
        batch: A batch of one image, as a data loader gives it. The number of
            proposals that a two-stage detector works on depends on it.

    Returns:
        The cost, and the height and width of the image as it goes into the
        network, padding included.
    """
    supernet = find_supernet(model)
    inside = set(map(id, supernet.modules()))
    sizes = []
    handle = supernet.register_forward_pre_hook(
        lambda _, inputs: sizes.append(tuple(inputs[0].shape[-2:]))
    )
    try:
        macs = _count_macs(
            [module for module in model.modules() if id(module) not in inside],
            lambda: model.eval().val_step(batch),
        )
    finally:
        handle.remove()
    params = sum(param.numel() for param in model.parameters())
    params -= sum(param.numel() for param in supernet.parameters())
    return Cost(macs, params), sizes[0]


def _count_macs(
    modules: Sequence[nn.Module], run: Callable[[], object]
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


def measured_cost_table(
    space: SearchSpace, input_size: tuple[int, int] = (224, 224)
) -> CostTable:
    """Counts every choice of every block on the built blocks.

    For search spaces with choice blocks that :mod:`detnas_mm.cost` has no
    formula for. Nothing is computed: the blocks live on the meta device.
    """
    with torch.device('meta'):
        stem = build_stem(space, _NORM).eval()
        x = torch.empty(1, 3, *input_size)
        stem_cost = count_cost(stem, lambda: stem(x))
        x = stem(x)
        rows = []
        for position in space.blocks:
            costs = []
            for name in space.choices:
                cost, output = _block_cost(name, position, x)
                costs.append(cost)
            rows.append(tuple(costs))
            x = output
    return CostTable(stem_cost, tuple(rows))


def _block_cost(
    name: str, position: BlockPosition, x: Tensor
) -> tuple[Cost, Tensor]:
    block = build_choice_block(
        name,
        in_channels=position.in_channels,
        out_channels=position.out_channels,
        stride=position.stride,
        shuffle='grouped',
        norm_cfg=_NORM,
    ).eval()
    return count_cost(block, lambda: block(x)), block(x)
