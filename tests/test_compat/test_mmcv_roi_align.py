"""RoIAlign on torchvision through mmcv, against a plain reference."""

import math

import pytest
import torch
from torch import Tensor

import detnas_mm  # noqa: F401 - puts the operators in place
from detnas_mm.compat import mmcv_ops

HALF_TYPES = (torch.float16, torch.bfloat16)


def plain_roi_align(feature, roi, size, scale, ratio, aligned):
    """One RoI ``(5,)`` on ``(B, C, H, W)`` -> ``(C, h, w)``, by its text."""
    shift = 0.5 if aligned else 0.0
    x1, y1, x2, y2 = (float(c) * scale - shift for c in roi[1:])
    width, height = x2 - x1, y2 - y1
    if not aligned:
        width, height = max(width, 1.0), max(height, 1.0)
    bin_h, bin_w = height / size[0], width / size[1]
    rows = ratio or math.ceil(bin_h)
    columns = ratio or math.ceil(bin_w)
    image = feature[int(roi[0])]
    output = image.new_zeros(image.size(0), *size)
    for i in range(size[0]):
        for j in range(size[1]):
            samples = [
                plain_bilinear(
                    image,
                    y1 + (i + (r + 0.5) / rows) * bin_h,
                    x1 + (j + (c + 0.5) / columns) * bin_w,
                )
                for r in range(rows)
                for c in range(columns)
            ]
            output[:, i, j] = sum(samples) / max(len(samples), 1)
    return output


def plain_bilinear(image, y, x):
    """Value at (y, x): zero beyond one pixel outside, clamped nearer by."""
    height, width = image.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return image.new_zeros(image.size(0))
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    return (
        image[:, top, left] * (1 - dy) * (1 - dx)
        + image[:, top, right] * (1 - dy) * dx
        + image[:, bottom, left] * dy * (1 - dx)
        + image[:, bottom, right] * dy * dx
    )


def roi_align(feature: Tensor, rois: Tensor, **settings) -> Tensor:
    from mmcv.ops import roi_align as mmcv_roi_align

    order = ('size', 'scale', 'ratio', 'mode', 'aligned')
    defaults = {'size': 2, 'scale': 1.0, 'ratio': 0, 'mode': 'avg'}
    values = {**defaults, 'aligned': True, **settings}
    return mmcv_roi_align(feature, rois, *(values[name] for name in order))


ROIS = [
    [0, 1.3, 2.1, 9.7, 8.2],
    [1, -3.0, -2.0, 4.5, 5.0],  # leaves the image
    [1, 6.0, 6.0, 6.2, 6.1],  # smaller than a feature pixel
    [0, 0.0, 0.0, 20.0, 16.0],
]


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [0, 1, 2])
@pytest.mark.parametrize(('scale', 'size'), [(1.0, (2, 3)), (0.5, (4, 4))])
def test_roi_align_equals_the_plain_reference(aligned, ratio, scale, size):
    generator = torch.Generator().manual_seed(0)
    feature = torch.randn(2, 3, 8, 10, generator=generator).double()
    feature.requires_grad_()
    rois = torch.tensor(ROIS, dtype=torch.float64)
    ours = roi_align(
        feature, rois, size=size, scale=scale, ratio=ratio, aligned=aligned
    )
    plain = torch.stack(
        [
            plain_roi_align(feature, r, size, scale, ratio, aligned)
            for r in ROIS
        ]
    )
    torch.testing.assert_close(ours, plain)

    upstream = torch.randn(ours.shape, generator=generator).double()
    torch.testing.assert_close(
        *(
            torch.autograd.grad((y * upstream).sum(), feature)
            for y in (ours, plain)
        )
    )


@pytest.mark.parametrize('dtype', HALF_TYPES)
def test_roi_align_half_precision_is_rounded_full_precision(dtype):
    feature = torch.randn(2, 3, 8, 10).to(dtype).requires_grad_()
    rois = torch.tensor(ROIS).to(dtype)
    pooled = roi_align(feature, rois)
    full = roi_align(feature.detach().float(), rois.float())
    assert pooled.dtype == dtype
    assert torch.equal(pooled, full.to(dtype))
    pooled.sum().backward()
    assert feature.grad.dtype == dtype
    assert feature.grad.float().abs().sum() > 0


def test_roi_align_works_under_autocast():
    feature = torch.randn(1, 2, 8, 8, requires_grad=True)
    convolution = torch.nn.Conv2d(2, 2, 1)
    with torch.autocast('cpu', torch.bfloat16):
        feature_map = convolution(feature)
        rois = torch.tensor([[0, 1.0, 1, 6, 6]]).type_as(feature_map)
        roi_align(feature_map, rois).float().sum().backward()
    assert feature_map.dtype == torch.bfloat16
    assert torch.isfinite(feature.grad).all()


def test_roi_align_of_no_rois_is_empty_and_has_zero_gradient():
    feature = torch.randn(1, 2, 8, 8, requires_grad=True)
    pooled = roi_align(feature, torch.zeros(0, 5), size=7)
    assert pooled.shape == (0, 2, 7, 7)
    pooled.sum().backward()
    assert torch.equal(feature.grad, torch.zeros_like(feature))


def test_roi_align_runs_where_deterministic_algorithms_are_asked_for():
    feature = torch.randn(1, 2, 8, 8, requires_grad=True)
    torch.use_deterministic_algorithms(True)
    try:
        roi_align(feature, torch.tensor(ROIS[3:])).sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    assert feature.grad is not None


def test_maximum_pooling_is_refused_with_the_way_out():
    with pytest.raises(NotImplementedError, match="pool_mode='avg'"):
        mmcv_ops.roi_align_forward(
            *[torch.zeros(0)] * 5, 2, 2, 1.0, 0, pool_mode=0, aligned=True
        )
