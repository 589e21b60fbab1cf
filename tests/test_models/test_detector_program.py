"""Detectors as programs of tensors give the boxes of mmdet."""

from pathlib import Path

import mmdet
import pytest
import torch
from kit.spaces import DETECTOR_SPACE
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope

from detnas_mm.models.detector_program import DetectorProgram
from detnas_mm.utils.errors import InputError

STOCK = Path(mmdet.__file__).parent / '.mim/configs'
SIZE = (64, 96)
RETINANET = 'retinanet/retinanet_r50_fpn_1x_coco.py'
FASTER_RCNN = 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
SMALL_HEAD = {
    'bbox_head.in_channels': 16,
    'bbox_head.feat_channels': 16,
    'bbox_head.stacked_convs': 1,
    'bbox_head.num_classes': 3,
    'bbox_head.norm_cfg': dict(type='BN'),
    'test_cfg.nms_pre': 40,
    'test_cfg.score_thr': 0.3,
}
SMALL_HEADS = {
    'rpn_head.in_channels': 16,
    'rpn_head.feat_channels': 16,
    'roi_head.bbox_roi_extractor.out_channels': 16,
    'roi_head.bbox_head.in_channels': 16,
    'roi_head.bbox_head.fc_out_channels': 16,
    'roi_head.bbox_head.num_classes': 3,
    'test_cfg.rpn.nms_pre': 60,
    'test_cfg.rpn.max_per_img': 80,
    'test_cfg.rcnn.score_thr': 0.26,
}


def build(name, changes):
    """Builds a stock detector with few channels and a searched backbone.

    The last layers get such weights that scores and boxes vary.
    """
    config = Config.fromfile(STOCK / name)
    settings = {
        'backbone': dict(
            _delete_=True,
            type='detnas_mm.DetNASNet',
            search_space=DETECTOR_SPACE.to_dict(),
            path='012301',
        ),
        'neck.in_channels': list(DETECTOR_SPACE.stage_channels),
        'neck.out_channels': 16,
    }
    config.merge_from_dict(
        {f'model.{key}': value for key, value in (settings | changes).items()}
    )
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(config.model).eval()
    spread_outputs(model)
    return model


def spread_outputs(model):
    """Scales the last layers to outputs of deviation 1 on noise."""
    scaled = set()

    def scale(module, _, output):
        if module not in scaled:
            scaled.add(module)
            module.weight.data /= output.std()

    ends = ('_cls', '_reg', '_centerness')
    last = [
        module
        for name, module in model.named_modules()
        if name.endswith(ends) and hasattr(module, 'bias')
    ]
    for module in last:
        module.bias.data.zero_()
        module.register_forward_hook(scale)
    with torch.no_grad():
        predict(model, noise(0))
    assert len(scaled) == len(last)


def noise(seed):
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(256, (*SIZE, 3), generator=rng, dtype=torch.uint8)


def predict(model, image):
    """Returns boxes, scores and labels of mmdet for an image in BGR."""
    sample = DetDataSample(
        metainfo=dict(
            img_shape=SIZE, ori_shape=SIZE, scale_factor=(1.0, 1.0), img_id=0
        )
    )
    batch = dict(inputs=[image.permute(2, 0, 1)], data_samples=[sample])
    found = model.test_step(batch)[0].pred_instances
    return found.bboxes, found.scores, found.labels


@pytest.mark.parametrize(
    ('name', 'changes'),
    [
        (RETINANET, SMALL_HEAD),
        ('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py', SMALL_HEAD),
        ('atss/atss_r50_fpn_1x_coco.py', SMALL_HEAD),
        (FASTER_RCNN, SMALL_HEADS),
    ],
)
def test_boxes_are_those_of_mmdet(name, changes):
    model = build(name, changes)
    bgr = DetectorProgram(model, SIZE)
    rgb = DetectorProgram(model, SIZE, 'RGB')
    for seed in (1, 2):
        image = noise(seed)
        with torch.no_grad():
            expected = predict(model, image)
            found, reversed_ = bgr(image), rgb(image.flip(2))
        assert len(expected[0]) > 5
        for pair in zip(expected, found, strict=True):
            torch.testing.assert_close(*pair)
        for pair in zip(expected, reversed_, strict=True):
            torch.testing.assert_close(*pair)


def test_other_heads_are_refused():
    soft = {'test_cfg.rcnn.nms': dict(type='soft_nms', iou_threshold=0.5)}
    for name, changes, expected in (
        ('gfl/gfl_r50_fpn_1x_coco.py', SMALL_HEAD, 'head GFLHead of GFL can'),
        (FASTER_RCNN, SMALL_HEADS | soft, 'another suppression of boxes'),
    ):
        model = build_plain(name, changes)
        with pytest.raises(InputError, match=expected) as error:
            DetectorProgram(model, SIZE)
        assert '--backbone' in str(error.value)
        assert '\n' not in str(error.value)


def build_plain(name, changes):
    config = Config.fromfile(STOCK / name)
    config.merge_from_dict({f'model.{k}': v for k, v in changes.items()})
    init_default_scope('mmdet')
    config.model.backbone.init_cfg = None
    return MODELS.build(config.model)
