"""Tiny detectors of mmdet around a toy supernet, and images for them."""

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from .models import randomized
from .spaces import DETECTOR_SPACE

_BN = dict(type='BN', requires_grad=True)
_CODER = dict(
    type='DeltaXYWHBBoxCoder',
    target_means=[0.0] * 4,
    target_stds=[1.0] * 4,
)
_LOSSES = dict(loss_bbox=dict(type='L1Loss', loss_weight=1.0))


def _assigner(high, low):
    return dict(
        type='MaxIoUAssigner', pos_iou_thr=high, neg_iou_thr=low, min_pos_iou=0
    )


def _sampler(num):
    return dict(
        type='RandomSampler',
        num=num,
        pos_fraction=0.5,
        neg_pos_ub=-1,
        add_gt_as_proposals=num < 64,
    )


def _shared(kind, num_outs, **neck):
    return dict(
        type=kind,
        data_preprocessor=dict(
            type='DetDataPreprocessor', pad_size_divisor=32
        ),
        backbone=dict(
            type='detnas_mm.DetNASSupernet',
            search_space=DETECTOR_SPACE.to_dict(),
        ),
        neck=dict(
            type='FPN',
            in_channels=list(DETECTOR_SPACE.stage_channels),
            out_channels=8,
            num_outs=num_outs,
            norm_cfg=_BN,
            **neck,
        ),
    )


def retinanet_cfg():
    """RetinaNet with BN in the convolutions that its levels share."""
    return _shared(
        'RetinaNet', 5, start_level=1, add_extra_convs='on_input'
    ) | dict(
        bbox_head=dict(
            type='RetinaHead',
            num_classes=3,
            in_channels=8,
            feat_channels=8,
            stacked_convs=1,
            norm_cfg=_BN,
            anchor_generator=dict(
                type='AnchorGenerator',
                octave_base_scale=4,
                scales_per_octave=1,
                ratios=[1.0],
                strides=[8, 16, 32, 64, 128],
            ),
            bbox_coder=_CODER,
            loss_cls=dict(type='FocalLoss', use_sigmoid=True),
            **_LOSSES,
        ),
        train_cfg=dict(
            assigner=_assigner(0.5, 0.4), allowed_border=-1, pos_weight=-1
        ),
        test_cfg=dict(
            nms_pre=100,
            min_bbox_size=0,
            score_thr=0.0,
            nms=dict(type='nms', iou_threshold=0.5),
            max_per_img=10,
        ),
    )


def faster_rcnn_cfg():
    """Faster R-CNN with BN in the convolutions of its box head."""
    cross_entropy = dict(type='CrossEntropyLoss', use_sigmoid=True)
    proposals = dict(
        nms_pre=50,
        max_per_img=20,
        nms=dict(type='nms', iou_threshold=0.7),
        min_bbox_size=0,
    )
    return _shared('FasterRCNN', 5) | dict(
        rpn_head=dict(
            type='RPNHead',
            in_channels=8,
            feat_channels=8,
            anchor_generator=dict(
                type='AnchorGenerator',
                scales=[4],
                ratios=[1.0],
                strides=[4, 8, 16, 32, 64],
            ),
            bbox_coder=_CODER,
            loss_cls=cross_entropy,
            **_LOSSES,
        ),
        roi_head=dict(
            type='StandardRoIHead',
            bbox_roi_extractor=dict(
                type='SingleRoIExtractor',
                roi_layer=dict(
                    type='RoIAlign', output_size=3, sampling_ratio=2
                ),
                out_channels=8,
                featmap_strides=[4, 8, 16, 32],
            ),
            bbox_head=dict(
                type='ConvFCBBoxHead',
                num_shared_convs=1,
                num_shared_fcs=1,
                in_channels=8,
                conv_out_channels=8,
                fc_out_channels=16,
                roi_feat_size=3,
                num_classes=3,
                norm_cfg=_BN,
                bbox_coder=_CODER,
                loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False),
                **_LOSSES,
            ),
        ),
        train_cfg=dict(
            rpn=dict(
                assigner=_assigner(0.7, 0.3),
                sampler=_sampler(64),
                allowed_border=-1,
                pos_weight=-1,
            ),
            rpn_proposal=proposals,
            rcnn=dict(
                assigner=_assigner(0.5, 0.5),
                sampler=_sampler(16),
                pos_weight=-1,
            ),
        ),
        test_cfg=dict(
            rpn=proposals,
            rcnn=dict(
                score_thr=0.0,
                nms=dict(type='nms', iou_threshold=0.5),
                max_per_img=10,
            ),
        ),
    )


DETECTORS = dict(retinanet=retinanet_cfg, faster_rcnn=faster_rcnn_cfg)


def build_detector(kind, path=None, seed=0):
    """Builds a tiny detector with random weights, in eval mode."""
    cfg = ConfigDict(DETECTORS[kind](), _scope_='mmdet')
    detector = randomized(MODELS.build(cfg), seed).eval()
    if path is not None:
        detector.backbone.set_path(path)
    return detector


def detection_batch(num_images, seed, size=(64, 96)):
    """Images of noise with two boxes each, as a data loader gives them."""
    rng = torch.Generator().manual_seed(seed)
    height, width = size
    inputs, samples = [], []
    for _ in range(num_images):
        inputs.append(
            torch.randint(256, (3, *size), generator=rng, dtype=torch.uint8)
        )
        corner = torch.rand(2, 2, generator=rng) * 30
        extent = 8 + torch.rand(2, 2, generator=rng) * 24
        sample = DetDataSample(
            metainfo=dict(
                img_shape=size,
                ori_shape=size,
                pad_shape=size,
                scale_factor=(1.0, 1.0),
                img_id=0,
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.cat((corner, corner + extent), dim=1),
            labels=torch.randint(3, (2,), generator=rng),
        )
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)
