"""mmcv's operators on torchvision, against plain references."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

import detnas_mm  # noqa: F401 - puts the operators in place
from detnas_mm.compat import mmcv_ops

HALF_TYPES = (torch.float16, torch.bfloat16)


def plain_nms(boxes, scores, threshold, offset):
    """Greedy suppression, box by box, in float32 as mmcv computes it."""
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    order = sorted(range(len(boxes)), key=lambda i: -scores[i])
    kept = []
    for i in order:
        if all(
            not plain_iou(boxes[i], boxes[k], offset) > np.float32(threshold)
            for k in kept
        ):
            kept.append(i)
    return kept


def plain_iou(a, b, offset):
    offset, zero = np.float32(offset), np.float32(0)
    width = max(zero, min(a[2], b[2]) - max(a[0], b[0]) + offset)
    height = max(zero, min(a[3], b[3]) - max(a[1], b[1]) + offset)
    areas = [
        (box[2] - box[0] + offset) * (box[3] - box[1] + offset)
        for box in (a, b)
    ]
    with np.errstate(invalid='ignore'):
        return width * height / (areas[0] + areas[1] - width * height)


def plain_focal_loss(logits, target, weight, gamma, alpha):
    """The formula of the focal loss paper, differentiable, ``(N, C)``."""
    one_hot = functional.one_hot(target, logits.size(1) + 1)[:, :-1]
    p = logits.sigmoid()
    p_t = p * one_hot + (1 - p) * (1 - one_hot)
    alpha_t = alpha * one_hot + (1 - alpha) * (1 - one_hot)
    loss = -alpha_t * (1 - p_t) ** gamma * p_t.log()
    if weight is not None:
        loss = loss * torch.cat([weight, weight.new_ones(1)])[target][:, None]
    return loss


# --- nms -------------------------------------------------------------------

coordinates = st.integers(0, 12)
box_lists = st.lists(
    st.tuples(coordinates, coordinates, coordinates, coordinates),
    max_size=12,
)


@settings(deadline=None, max_examples=100)
@given(
    corners=box_lists,
    data=st.data(),
    threshold=st.sampled_from((0.0, 0.25, 0.3, 1 / 3, 0.5, 0.7, 1.0)),
    offset=st.sampled_from((0, 1)),
)
def test_nms_equals_the_plain_reference(corners, data, threshold, offset):
    boxes = [
        (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
        for x1, y1, x2, y2 in corners
    ]
    # Few different scores, so that many are equal and order matters.
    levels = st.sampled_from((0.1, 0.5, 0.9))
    scores = [data.draw(levels) for _ in boxes]
    given = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    before = given.clone()
    kept = mmcv_ops.nms(given, torch.tensor(scores), threshold, offset)
    assert torch.equal(given, before)
    assert kept.dtype == torch.int64
    assert kept.tolist() == plain_nms(boxes, scores, threshold, offset)


@pytest.mark.parametrize(
    ('width', 'threshold'), [(3, 0.3), (7, 0.7), (6, 0.6), (9, 0.9)]
)
def test_nms_keeps_a_box_whose_overlap_equals_the_threshold(width, threshold):
    # IoU is width / 10, which rounds up or down in float32.
    boxes = torch.tensor([[0.0, 0, 10, 1], [0, 0, width, 1]])
    scores = torch.tensor([0.9, 0.8])
    assert mmcv_ops.nms(boxes, scores, threshold, 0).tolist() == [0, 1]
    assert mmcv_ops.nms(boxes, scores, threshold - 1e-3, 0).tolist() == [0]


def test_nms_offset_counts_the_last_pixel():
    # 4 x 4 and 4 x 2 pixels with offset 1 (IoU 1/2); 3 x 3 and 3 x 1
    # without (IoU 1/3).
    boxes = torch.tensor([[0.0, 0, 3, 3], [0, 0, 3, 1]])
    scores = torch.tensor([0.9, 0.8])
    assert mmcv_ops.nms(boxes, scores, 0.4, 0).tolist() == [0, 1]
    assert mmcv_ops.nms(boxes, scores, 0.4, 1).tolist() == [0]


@pytest.mark.parametrize('dtype', HALF_TYPES)
def test_nms_accepts_half_precision_scores_and_boxes(dtype):
    boxes = torch.tensor([[0.0, 0, 8, 8], [0, 0, 8, 7], [9, 9, 12, 12]])
    scores = torch.tensor([0.5, 0.75, 0.25])
    for b, s in ((boxes.to(dtype), scores.to(dtype)), (boxes, scores.half())):
        assert mmcv_ops.nms(b, s, 0.5, 0).tolist() == [1, 2]


def test_batched_nms_of_mmcv_separates_the_classes():
    from mmcv.ops import batched_nms

    boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8], [0, 0, 9, 9]])
    scores, classes = torch.tensor([0.3, 0.9, 0.5]), torch.tensor([0, 0, 1])
    config = {'type': 'nms', 'iou_threshold': 0.5}
    kept_boxes, kept = batched_nms(boxes, scores, classes, config)
    assert kept.tolist() == [1, 2]
    torch.testing.assert_close(kept_boxes[:, 4], scores[[1, 2]])


# --- focal loss ------------------------------------------------------------


def focal_loss(logits, target, weight=None, gamma=2.0, alpha=0.25):
    """Through mmcv's autograd function, one loss per sample and class."""
    from mmcv.ops import sigmoid_focal_loss

    return sigmoid_focal_loss(logits, target, gamma, alpha, weight, 'none')


@pytest.mark.parametrize('weight', [None, [1.0, 2.0, 0.5]])
@pytest.mark.parametrize('gamma', [0.0, 1.5, 2.0])
def test_focal_loss_equals_the_plain_formula(weight, gamma):
    logits = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 1, 2, 3, 3, 0])  # 3 is background
    weight = weight and torch.tensor(weight, dtype=torch.float64)
    ours = focal_loss(logits, target, weight, gamma=gamma)
    plain = plain_focal_loss(logits, target, weight, gamma, 0.25)
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(
        *(torch.autograd.grad(loss.sum(), logits) for loss in (ours, plain))
    )


def test_focal_loss_is_exact_at_extreme_logits():
    logits = torch.tensor([[200.0, -200.0, 30.0]], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([1]))
    # Wrong by far: the loss is the distance, times alpha or 1 - alpha.
    expected = torch.tensor([[0.75 * 200, 0.25 * 200, 0.75 * 30]])
    torch.testing.assert_close(loss, expected)
    loss.sum().backward()
    expected = torch.tensor([[0.75, -0.25, 0.75]])
    torch.testing.assert_close(logits.grad, expected)


@pytest.mark.parametrize('dtype', HALF_TYPES)
def test_focal_loss_in_half_precision_is_close_to_full(dtype):
    logits = torch.randn(5, 3).to(dtype).requires_grad_()
    target = torch.tensor([0, 1, 2, 3, 1])
    loss = focal_loss(logits, target)
    full = focal_loss(logits.detach().float(), target)
    assert loss.dtype == dtype
    assert torch.equal(loss, full.to(dtype))
    loss.sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_focal_loss_of_no_samples_is_empty():
    logits = torch.zeros(0, 3, requires_grad=True)
    target = torch.zeros(0, dtype=torch.int64)
    focal_loss(logits, target).sum().backward()
    assert logits.grad.shape == (0, 3)


# --- the module ------------------------------------------------------------


def test_missing_operator_names_itself_and_what_is_provided():
    module = type(torch)('mmcv._ext')
    mmcv_ops.fill_extension(module)
    with pytest.raises(NotImplementedError, match='install mmcv') as error:
        module.softnms(torch.zeros(1, 4), torch.zeros(1), sigma=0.5)
    assert '`softnms`' in str(error.value)
    assert 'sigmoid_focal_loss_forward' in str(error.value)
    # Private names are not made up: Python asks for some of them.
    assert not hasattr(module, '__path__')
    assert isinstance(module.get_compiler_version(), str)
    assert isinstance(module.get_compiling_cuda_version(), str)
