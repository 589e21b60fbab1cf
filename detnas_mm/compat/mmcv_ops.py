"""mmcv's operators on torch and torchvision, for an mmcv without its own.

mmcv-lite, and the forks' mmcv built without a compiler, lack the extension
module ``mmcv._ext``. :mod:`detnas_mm.compat.import_hooks` fills it with the
operators of this module: those that the detectors of this project need, on
CPU and CUDA, with the signatures of the compiled ones (outputs are passed in
and written in place). Every other name is a function that raises an error
when it is called, since mmcv looks up all operators when it is imported.

Shapes: N boxes or RoIs, C channels or classes, (H, W) of a feature map,
(h, w) of a pooled RoI.
"""

from collections.abc import Callable
from types import ModuleType

import torch
import torchvision
from torch import Tensor
from torch.nn import functional

AVERAGE_POOLING = 1  # mmcv's code for pool_mode; 0 is maximum


def nms(
    boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int
) -> Tensor:
    """Greedy non-maximum suppression; equal scores keep their order.

    Args:
        boxes: ``(N, 4)``, x1 y1 x2 y2.
        scores: ``(N,)``.
        iou_threshold: A box is dropped if its IoU with a kept box of higher
            score is greater than this, compared in float32 as mmcv does.
        offset: 0, or 1 where the box ends on the pixel x2, y2, so that its
            width is x2 - x1 + 1.

    Returns:
        Indices of the kept boxes, by decreasing score, int64.
    """
    # Box and score have one type in torchvision, and no half precision on
    # the CPU.
    dtype = _compute_dtype(torch.promote_types(boxes.dtype, scores.dtype))
    boxes = boxes.to(dtype)
    if offset:
        # Moving the far corner by the offset gives mmcv's widths, heights
        # and intersections: all of them are differences of a far coordinate
        # and a near one.
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    threshold = torch.tensor(iou_threshold, dtype=torch.float32).item()
    return torch.ops.torchvision.nms(boxes, scores.to(dtype), threshold)


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the average-pooled RoIs into ``output``.

    Args:
        input: Feature map, ``(B, C, H, W)``.
        rois: ``(N, 5)``: index into the batch, x1 y1 x2 y2.
        output: ``(N, C, h, w)``, written.
        argmax_y, argmax_x: Used by maximum pooling only.
        aligned_height, aligned_width: h and w.
        spatial_scale: Feature pixels per image pixel.
        sampling_ratio: Samples per bin and axis; 0: as many as fit the RoI.
        pool_mode: 1, average; 0, maximum, is not provided.
        aligned: Whether the box is shifted by half a feature pixel.
    """
    _require_average_pooling(pool_mode)
    if output.numel() == 0:
        return
    dtype = _compute_dtype(input.dtype)
    # Call the operator directly: if deterministic algorithms are required,
    # torchvision's function compiles another one, although the forward pass
    # is always deterministic.
    pooled = torch.ops.torchvision.roi_align(
        input.to(dtype),
        rois.to(dtype),
        spatial_scale,
        aligned_height,
        aligned_width,
        sampling_ratio,
        aligned,
    )
    output.copy_(pooled)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Add the gradient of :func:`roi_align_forward` to ``grad_input``."""
    _require_average_pooling(pool_mode)
    if grad_output.numel() == 0:
        return
    dtype = _compute_dtype(grad_output.dtype)
    device = grad_output.device
    if device.type == 'cuda' and _must_be_deterministic():
        # The CUDA kernel adds in arbitrary order and refuses this mode.
        device = torch.device('cpu')
    gradient = torch.ops.torchvision._roi_align_backward(
        grad_output.to(device, dtype),
        rois.to(device, dtype),
        spatial_scale,
        aligned_height,
        aligned_width,
        *grad_input.shape,
        sampling_ratio,
        aligned,
    )
    grad_input.add_(gradient.to(grad_input))


def sigmoid_focal_loss_forward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    output: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write the focal loss of every sample and class into ``output``.

    Args:
        input: Logits, ``(N, C)``.
        target: Class of each sample, ``(N,)``; any index outside ``0..C-1``
            is background.
        weight: ``(C,)``, the weight of the samples of each class, or empty.
            Background has weight 1.
        output: ``(N, C)``, written.
        gamma: Exponent of the modulating factor.
        alpha: Balance of positive and negative terms.
    """
    logits = input.to(_compute_dtype(input.dtype))
    # log-sigmoid stays exact where the compiled operator saturates, beyond
    # logits of about 17.
    loss = torch.where(
        _is_target_class(logits, target),
        -alpha * (-logits).sigmoid() ** gamma * functional.logsigmoid(logits),
        (alpha - 1)
        * logits.sigmoid() ** gamma
        * functional.logsigmoid(-logits),
    )
    output.copy_(loss * _sample_weights(weight, target, logits))


def sigmoid_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write d loss / d logits, ``(N, C)``, into ``grad_input``."""
    logits = input.to(_compute_dtype(input.dtype))
    p, q = logits.sigmoid(), (-logits).sigmoid()
    positive = q - gamma * p * functional.logsigmoid(logits)
    negative = p - gamma * q * functional.logsigmoid(-logits)
    gradient = torch.where(
        _is_target_class(logits, target),
        -alpha * q**gamma * positive,
        (1 - alpha) * p**gamma * negative,
    )
    grad_input.copy_(gradient * _sample_weights(weight, target, logits))


def get_compiler_version() -> str:
    """Return the entry for mmcv's compiler in the environment report."""
    return f'none (operators of torchvision {torchvision.__version__})'


def get_compiling_cuda_version() -> str:
    """Return the CUDA version of the operators, which is torch's."""
    return torch.version.cuda or 'not available'


OPERATORS = {
    function.__name__: function
    for function in (
        nms,
        roi_align_forward,
        roi_align_backward,
        sigmoid_focal_loss_forward,
        sigmoid_focal_loss_backward,
    )
}


def fill_extension(module: ModuleType) -> None:
    """Give an empty module the contents of ``mmcv._ext``."""
    module.__doc__ = __doc__
    vars(module).update(OPERATORS)
    module.get_compiler_version = get_compiler_version
    module.get_compiling_cuda_version = get_compiling_cuda_version
    module.__getattr__ = missing_operator


def missing_operator(name: str) -> Callable[..., None]:
    """Return a function that reports the operator ``name`` as missing."""
    if name.startswith('_'):
        raise AttributeError(f"module 'mmcv._ext' has no attribute {name!r}")

    def raise_missing(*args: object, **kwargs: object) -> None:
        raise NotImplementedError(
            f'mmcv operator `{name}` is not available: this mmcv has no '
            f'compiled operators, and detnas_mm provides only '
            f'{", ".join(OPERATORS)}; install mmcv (or onedl-mmcv) built with '
            f'its operators to use `{name}`'
        )

    raise_missing.__name__ = name
    return raise_missing


def _compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return at least float32: half precision lacks range and kernels."""
    return torch.promote_types(dtype, torch.float32)


def _require_average_pooling(pool_mode: int) -> None:
    if pool_mode != AVERAGE_POOLING:
        raise NotImplementedError(
            "`pool_mode` 'max' of RoIAlign is not available: this mmcv has "
            "no compiled operators; use pool_mode='avg', or install mmcv (or "
            'onedl-mmcv) built with its operators'
        )


def _must_be_deterministic() -> bool:
    return (
        torch.are_deterministic_algorithms_enabled()
        and not torch.is_deterministic_algorithms_warn_only_enabled()
    )


def _is_target_class(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mask ``(N, C)`` of the positive class of each sample."""
    classes = torch.arange(logits.size(1), device=logits.device)
    return target[:, None] == classes


def _sample_weights(weight: Tensor, target: Tensor, logits: Tensor) -> Tensor:
    """Return the weight of each sample, ``(N, 1)``, or 1 without weights."""
    if weight.numel() == 0:
        return logits.new_ones(())
    is_object = (target >= 0) & (target < weight.numel())
    index = target.clamp(0, weight.numel() - 1)
    return torch.where(is_object, weight.to(logits)[index], 1.0)[:, None]
