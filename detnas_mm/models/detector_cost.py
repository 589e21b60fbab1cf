"""MACs and parameters of each part of a detector, without computing it."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from detnas_mm.models.complexity import count_cost
from detnas_mm.structures import Cost
from detnas_mm.utils.errors import InputError


@torch.no_grad()
def count_parts(
    model: nn.Module, input_size: tuple[int, int]
) -> dict[str, Cost]:
    """Counts the parts of a detector or classifier, for one image.

    A box head is counted on as many regions as the detector proposes at
    most. Convolutions and linear layers count, as in
    :mod:`detnas_mm.cost`; nothing is computed.

    Args:
        model: The model, built on the meta device, with an active path if it
            holds a supernet.
        input_size: Height and width of the image as it goes into the
            network, padding included.

    Returns:
        Costs by the names of the parts: ``backbone``, ``neck``, and
        ``bbox_head``, or ``rpn_head`` and ``roi_head``, or ``head``.

    Raises:
        InputError: If the model has none of these heads.
    """
    model.eval()
    x = torch.empty(1, 3, *input_size, device='meta')
    return {
        name: count_cost(part, run) for name, part, run in _parts(model, x)
    }


def _parts(
    model: nn.Module, x: Tensor
) -> Iterator[tuple[str, nn.Module, Callable[[], object]]]:
    """Yields name and module of each part, and a function that runs it."""
    outputs = [x]

    def run(part: nn.Module) -> None:
        outputs.append(part(outputs[-1]))

    for name in ('backbone', 'neck'):
        part = getattr(model, name, None)
        if part is not None:
            yield name, part, lambda part=part: run(part)
    features = outputs[-1]
    if getattr(model, 'roi_head', None) is not None:
        rpn = model.rpn_head
        yield 'rpn_head', rpn, lambda: rpn(features)
        regions = model.test_cfg.rpn.max_per_img
        roi = model.roi_head
        yield 'roi_head', roi, lambda: _run_box_heads(roi, regions)
        return
    for name in ('bbox_head', 'head'):
        head = getattr(model, name, None)
        if head is not None:
            yield name, head, lambda head=head: head(features)
            return
    raise InputError(
        f'cannot count {type(model).__name__}: expected a model with '
        'roi_head, bbox_head or head'
    )


def _run_box_heads(roi_head: nn.Module, regions: int) -> None:
    """Runs the box head, or each of a cascade, on empty regions."""
    heads = roi_head.bbox_head
    if not isinstance(heads, nn.ModuleList):
        heads = [heads]
    for head in heads:
        size = (regions, head.in_channels, *head.roi_feat_size)
        head(torch.empty(size, device='meta'))
