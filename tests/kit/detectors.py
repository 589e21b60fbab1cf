"""Tiny detectors of mmdet around a toy supernet, and images for them."""

from pathlib import Path

import mmdet
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData

from .models import randomized
from .spaces import DETECTOR_SPACE

_STOCK = Path(mmdet.__file__).parent / '.mim/configs/_base_/models'
_BN = dict(type='BN', requires_grad=True)
_SHARED = {
    'data_preprocessor': dict(
        _delete_=True, type='DetDataPreprocessor', pad_size_divisor=32
    ),
    'backbone': dict(
        _delete_=True,
        type='detnas_mm.DetNASSupernet',
        search_space=DETECTOR_SPACE.to_dict(),
    ),
    'neck.in_channels': list(DETECTOR_SPACE.stage_channels),
    'neck.out_channels': 8,
    'neck.norm_cfg': _BN,
}


def _tiny(name, **changes):
    """Reads a stock model and changes it; dicts are merged."""
    config = Config.fromfile(_STOCK / f'{name}_r50_fpn.py')
    for settings in (_SHARED, changes):
        config.merge_from_dict({f'model.{k}': v for k, v in settings.items()})
    return config.model.to_dict()


def retinanet_cfg():
    """RetinaNet with BN in the convolutions that its levels share."""
    return _tiny(
        'retinanet',
        bbox_head=dict(
            num_classes=3,
            in_channels=8,
            feat_channels=8,
            stacked_convs=1,
            norm_cfg=_BN,
            anchor_generator=dict(scales_per_octave=1, ratios=[1.0]),
        ),
        test_cfg=dict(nms_pre=100, score_thr=0.0, max_per_img=10),
    )


def faster_rcnn_cfg():
    """Faster R-CNN with BN in the convolutions of its box head."""
    proposals = dict(nms_pre=50, max_per_img=20)
    return _tiny(
        'faster-rcnn',
        rpn_head=dict(
            in_channels=8,
            feat_channels=8,
            anchor_generator=dict(scales=[4], ratios=[1.0]),
            bbox_coder=dict(target_stds=[1.0] * 4),
        ),
        roi_head=dict(
            bbox_roi_extractor=dict(
                roi_layer=dict(output_size=3, sampling_ratio=2),
                out_channels=8,
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
                bbox_coder=dict(target_stds=[1.0] * 4),
            ),
        ),
        train_cfg=dict(
            rpn=dict(sampler=dict(num=64)),
            rpn_proposal=proposals,
            rcnn=dict(sampler=dict(num=16)),
        ),
        test_cfg=dict(rpn=proposals, rcnn=dict(score_thr=0.0, max_per_img=10)),
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
