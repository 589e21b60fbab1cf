"""A detector as one program of tensors, from image to boxes, for export.

It computes what mmdet's ``predict`` does, with sizes that are known before
the run wherever possible. Shapes: H and W of the image, N boxes, C classes.
"""

from collections.abc import Sequence

import torch
from mmengine.config import ConfigDict
from torch import Tensor, nn

from detnas_mm.utils.errors import InputError

Boxes = tuple[Tensor, Tensor, Tensor]  # (N, 4) x1 y1 x2 y2, scores, labels


class DetectorProgram(nn.Module):
    """Maps an image of bytes ``(H, W, 3)`` to boxes, scores and labels.

    Args:
        model: A detector of mmdet; see :func:`require_exportable`.
        input_size: Height and width of the image, padding included.
        channel_order: ``'BGR'`` or ``'RGB'``, the order in the image.
    """

    def __init__(
        self,
        model: nn.Module,
        input_size: tuple[int, int],
        channel_order: str = 'BGR',
    ) -> None:
        super().__init__()
        preprocessor = model.data_preprocessor
        # mmdet's images are BGR, and a preprocessor may reverse them.
        self.reverses = bool(preprocessor._channel_conversion) != (
            channel_order == 'RGB'
        )
        mean, std = torch.zeros(3, 1, 1), torch.ones(3, 1, 1)
        if preprocessor._enable_normalize:
            mean, std = preprocessor.mean, preprocessor.std
        self.register_buffer('mean', mean)
        self.register_buffer('std', std)
        self.backbone = model.backbone
        self.rest = RestProgram(model, input_size)
        self.eval()

    def forward(self, image: Tensor) -> Boxes:
        """Detect objects; sorted by decreasing score."""
        images = image.permute(2, 0, 1)[None].float()
        if self.reverses:
            images = images.flip(1)
        return self.rest(*self.backbone((images - self.mean) / self.std))


class RestProgram(nn.Module):
    """Neck and heads: maps feature maps ``(1, C, h, w)`` to boxes."""

    def __init__(self, model: nn.Module, input_size: tuple[int, int]) -> None:
        super().__init__()
        require_exportable(model)
        model.eval()
        device = next(model.parameters()).device
        with torch.no_grad():
            image = torch.zeros(1, 3, *input_size, device=device)
            features = model.extract_feat(image)
        self.neck = model.neck if model.with_neck else None
        roi_head = getattr(model, 'roi_head', None)
        dense = model.bbox_head if roi_head is None else model.rpn_head
        self.dense = _DenseHead(dense, features, input_size)
        self.regions = None
        if roi_head is not None:
            self.regions = _RegionHead(roi_head, input_size)
        self.eval()

    def forward(self, *features: Tensor) -> Boxes:
        """Detect objects in feature maps."""
        if self.neck is not None:
            features = self.neck(features)
        found = self.dense(features)
        if self.regions is None:
            return self.dense.suppress(*found)
        return self.regions(features, *self.dense.best(*found))


class _Suppression(nn.Module):
    """Non-maximum suppression by class, as mmcv's ``batched_nms``."""

    def __init__(self, cfg: ConfigDict, input_size: tuple[int, int]) -> None:
        super().__init__()
        self.cfg, self.input_size = cfg, tuple(input_size)

    def kept(
        self, boxes: Tensor, scores: Tensor, labels: Tensor, is_valid: Tensor
    ) -> Tensor:
        """Return the indices of the boxes to keep, by decreasing score."""
        index = is_valid.nonzero().squeeze(1)
        # Boxes of different classes are moved apart: they do not overlap.
        is_agnostic = self.cfg.nms.get('class_agnostic', False)
        span = 0 if is_agnostic else max(self.input_size) + 1
        moved = boxes[index] + (labels[index] * span).to(boxes)[:, None]
        threshold = self.cfg.nms.iou_threshold
        nms = torch.ops.torchvision.nms
        return index[nms(moved, scores[index], threshold)]

    def suppress(
        self, boxes: Tensor, scores: Tensor, labels: Tensor, is_valid: Tensor
    ) -> Boxes:
        """Return the boxes to keep, at most ``max_per_img``."""
        index = self.kept(boxes, scores, labels, is_valid)
        index = index[: self.cfg.max_per_img]
        return boxes[index], scores[index], labels[index]

    def best(
        self, boxes: Tensor, scores: Tensor, labels: Tensor, is_valid: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return a fixed number of boxes to keep, and which are any."""
        index = self.kept(boxes, scores, labels, is_valid)
        kept = torch.full_like(scores, -1).scatter(0, index, scores[index])
        scores, index = kept.topk(min(self.cfg.max_per_img, len(scores)))
        return boxes[index], scores >= 0


class _DenseHead(_Suppression):
    """The head of a one-stage detector, or the RPN of a two-stage one."""

    def __init__(
        self,
        head: nn.Module,
        features: Sequence[Tensor],
        input_size: tuple[int, int],
    ) -> None:
        super().__init__(head.test_cfg, input_size)
        self.head = head
        self.is_rpn = type(head).__name__ == 'RPNHead'
        sizes = [feature.shape[-2:] for feature in features]
        priors = head.prior_generator.grid_priors(
            sizes, device=features[0].device
        )
        for level, prior in enumerate(priors):
            self.register_buffer(f'priors{level}', prior)

    def forward(
        self, features: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the best boxes of each level, and which are valid.

        The labels are classes; of an RPN, levels.
        """
        from mmdet.structures.bbox import get_box_tensor

        levels = zip(*self.head(features), strict=True)
        parts = [
            self._best_of_level(i, *maps) for i, maps in enumerate(levels)
        ]
        priors, deltas, scores, factors, labels = map(
            torch.cat, zip(*parts, strict=True)
        )
        boxes = get_box_tensor(
            self.head.bbox_coder.decode(
                priors, deltas, max_shape=self.input_size
            )
        )
        # The threshold is for the class score alone.
        is_valid = scores > (-1 if self.is_rpn else self.cfg.score_thr)
        least = self.cfg.get('min_bbox_size', -1)
        if least >= 0:
            sides = boxes[:, 2:] - boxes[:, :2]
            is_valid = is_valid & (sides > least).all(dim=1)
        return boxes, scores * factors, labels, is_valid

    def _best_of_level(
        self,
        level: int,
        scores: Tensor,
        deltas: Tensor,
        factors: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        classes = self.head.cls_out_channels
        scores = _rows(scores, classes).sigmoid().flatten()
        deltas = _rows(deltas, self.head.bbox_coder.encode_size)
        number = len(scores)
        limit = self.cfg.get('nms_pre', -1)
        scores, index = scores.topk(
            min(limit, number) if limit > 0 else number
        )
        prior = index // classes
        labels = index % classes
        if self.is_rpn:
            labels = torch.full_like(labels, level)
        if factors is None:
            factors = torch.ones_like(scores)
        else:
            factors = _rows(factors, 1).sigmoid().flatten()[prior]
        priors = getattr(self, f'priors{level}')[prior]
        return priors, deltas[prior], scores, factors, labels


class _RegionHead(_Suppression):
    """The second stage of Faster R-CNN."""

    def __init__(
        self, roi_head: nn.Module, input_size: tuple[int, int]
    ) -> None:
        super().__init__(roi_head.test_cfg, input_size)
        self.extractor = roi_head.bbox_roi_extractor
        self.head = roi_head.bbox_head

    def forward(
        self, features: Sequence[Tensor], regions: Tensor, is_valid: Tensor
    ) -> Boxes:
        """Classify and refine regions ``(N, 4)``."""
        logits, deltas = self.head(self._pool(features, regions))
        scores = logits.softmax(dim=-1)[:, :-1]
        scores = torch.where(is_valid[:, None], scores, -1)
        classes = scores.shape[1]
        each = 1 if self.head.reg_class_agnostic else classes
        boxes = self.head.bbox_coder.decode(
            regions.repeat_interleave(each, dim=0),
            deltas.reshape(-1, 4),
            max_shape=self.input_size,
        )
        boxes = boxes.reshape(-1, each, 4).expand(-1, classes, 4)
        labels = torch.arange(classes, device=scores.device)
        labels = labels.expand(len(scores), -1).flatten()
        scores = scores.flatten()
        is_valid = scores > self.cfg.score_thr
        return self.suppress(boxes.reshape(-1, 4), scores, labels, is_valid)

    def _pool(self, features: Sequence[Tensor], regions: Tensor) -> Tensor:
        rois = torch.cat((torch.zeros_like(regions[:, :1]), regions), dim=1)
        layers = self.extractor.roi_layers
        levels = self.extractor.map_roi_levels(rois, len(layers))
        pooled = 0
        for level, layer in enumerate(layers):
            # Empty boxes in place of the regions of other levels.
            is_here = levels == level
            part = torch.ops.torchvision.roi_align(
                features[level],
                torch.where(is_here[:, None], rois, 0),
                layer.spatial_scale,
                *layer.output_size,
                layer.sampling_ratio,
                layer.aligned,
            )
            is_here = is_here[:, None, None, None]
            pooled = pooled + torch.where(is_here, part, 0)
        return pooled


def _rows(maps: Tensor, width: int) -> Tensor:
    """Reshape ``(1, A * width, h, w)`` to ``(h * w * A, width)``."""
    return maps[0].permute(1, 2, 0).reshape(-1, width)


def require_exportable(model: nn.Module) -> None:
    """Check that the boxes of a detector can be computed by a program.

    Raises:
        InputError: If it is of another kind than RetinaNet, FCOS, ATSS or
            Faster R-CNN, or has another suppression than NMS.
    """
    from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
    from mmdet.models.dense_heads.rpn_head import RPNHead
    from mmdet.models.roi_heads import SingleRoIExtractor, StandardRoIHead
    from mmdet.models.roi_heads.bbox_heads import BBoxHead

    roi_head = getattr(model, 'roi_head', None)
    if roi_head is None:
        head, base = getattr(model, 'bbox_head', None), BaseDenseHead
        parts = {}
    else:
        head, base = getattr(roi_head, 'bbox_head', None), BBoxHead
        extractor = getattr(roi_head, 'bbox_roi_extractor', None)
        parts = {
            RPNHead: model.rpn_head,
            StandardRoIHead: roi_head,
            SingleRoIExtractor: extractor,
        }
    unknown = [part for kind, part in parts.items() if type(part) is not kind]
    # A subclass must not compute its boxes otherwise.
    names = ('predict_by_feat', '_predict_by_feat_single')
    names += ('_bbox_post_process',) * (base is BaseDenseHead)
    if not isinstance(head, base) or any(
        getattr(type(head), name) is not getattr(base, name) for name in names
    ):
        unknown.append(head)
    if unknown:
        problem = f'the head {type(unknown[0]).__name__}'
    elif not parts and not head.use_sigmoid_cls:
        problem = 'a softmax over classes'
    elif parts and roi_head.with_mask:
        problem = 'the mask head'
    elif any(
        part.test_cfg.nms.get('type', 'nms') != 'nms'
        for part in (parts.values() if parts else [head])
        if hasattr(part, 'test_cfg')
    ):
        problem = 'another suppression of boxes than nms'
    else:
        return
    raise InputError(
        f'{problem} of {type(model).__name__} cannot be exported: it must be '
        'RetinaNet, FCOS, ATSS or Faster R-CNN; export the backbone alone by '
        '--backbone'
    )
