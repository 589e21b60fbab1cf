"""Converted detectors give what the foreign ones give."""

import pytest
import torch
from kit.detectors import faster_rcnn_cfg, retinanet_cfg
from kit.foreign import (
    AuthorsBackbone,
    BenchmarkBoxHead,
    BenchmarkDetector,
    BenchmarkFPN,
    BenchmarkRetinaHead,
    BenchmarkRPNHead,
    MMRazorBackbone,
)
from kit.models import randomized
from kit.spaces import DETECTOR_SPACE
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmdet.registry import MODELS
from mmengine.config import ConfigDict

from detnas_mm.models import convert_checkpoint
from detnas_mm.utils.errors import InputError

PATH = (0, 1, 2, 3, 1, 0)
CHANNELS = DETECTOR_SPACE.stage_channels
WIDTH, CLASSES, ROI = 8, 3, 3


@pytest.fixture
def image():
    rng = torch.Generator().manual_seed(7)
    return torch.randn(1, 3, 64, 96, generator=rng)


@pytest.fixture
def regions():
    rng = torch.Generator().manual_seed(8)
    return torch.randn(5, WIDTH, ROI, ROI, generator=rng)


def faster_rcnn(path=PATH, norm=True, convolutions=1, fcs=1):
    detector = BenchmarkDetector(
        AuthorsBackbone(DETECTOR_SPACE, path, interleaved=path is not None),
        BenchmarkFPN(CHANNELS, WIDTH, norm),
        BenchmarkRPNHead(WIDTH, anchors=1),
        BenchmarkBoxHead(WIDTH, ROI, 16, CLASSES, convolutions, norm, fcs),
    )
    return randomized(detector).eval()


def build(cfg, converted):
    """mmdet's detector; all weights must fit."""
    cfg['backbone'] = converted.backbone_cfg
    detector = MODELS.build(ConfigDict(cfg, _scope_='mmdet'))
    detector.load_state_dict(converted.state_dict)
    return detector.eval()


def convert(tmp_path, detector):
    file = tmp_path / 'detector.pth'
    torch.save({'model': detector.state_dict(), 'iteration': 9}, file)
    return convert_checkpoint(file)


def assert_same(ours, theirs):
    torch.testing.assert_close(list(ours), list(theirs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ('norm', 'convolutions', 'fcs'),
    [(True, 1, 1), (True, 4, 1), (False, 2, 1), (False, 0, 2)],
)
def test_faster_rcnn(tmp_path, image, regions, norm, convolutions, fcs):
    theirs = faster_rcnn(PATH, norm, convolutions, fcs)
    converted = convert(tmp_path, theirs)
    cfg = faster_rcnn_cfg()
    box_head = cfg['roi_head']['bbox_head']
    box_head.update(num_shared_convs=convolutions, num_shared_fcs=fcs)
    if not norm:
        cfg['neck']['norm_cfg'] = box_head['norm_cfg'] = None
    ours = build(cfg, converted)
    features = theirs.features(image)
    assert_same(ours.extract_feat(image), features)
    outputs = zip(*ours.rpn_head(features), strict=True)
    assert_same(outputs, map(theirs.rpn.head, features))
    scores, boxes = ours.roi_head.bbox_head(regions)
    their_scores, their_boxes = theirs.roi_heads.box(regions)
    # The background is the last class here and the first one there.
    assert_same([scores[:, -1]], [their_scores[:, 0]])
    assert_same([scores[:, :-1]], [their_scores[:, 1:]])
    assert_same([boxes], [their_boxes[:, 4:]])


def test_supernet_of_faster_rcnn(tmp_path, image):
    theirs = faster_rcnn(path=None)
    converted = convert(tmp_path, theirs)
    assert (converted.path, converted.shuffle) == (None, 'grouped')
    ours = build(faster_rcnn_cfg(), converted)
    for path in (PATH, PATH[::-1]):
        with ours.backbone.activate(path):
            features = ours.extract_feat(image)
        assert_same(features, theirs.features(image, path))


def test_retinanet(tmp_path, image):
    theirs = BenchmarkDetector(
        AuthorsBackbone(DETECTOR_SPACE, PATH, interleaved=True),
        BenchmarkFPN(CHANNELS, WIDTH, norm=False, retina=True),
        BenchmarkRetinaHead(WIDTH, anchors=1, classes=CLASSES, number=1),
    )
    converted = convert(tmp_path, randomized(theirs).eval())
    cfg = retinanet_cfg()
    cfg['neck'].update(
        norm_cfg=None,
        add_extra_convs='on_output',
        relu_before_extra_convs=True,
    )
    cfg['bbox_head']['norm_cfg'] = None
    ours = build(cfg, converted)
    features = theirs.features(image)
    assert_same(ours.extract_feat(image), features)
    cls_scores, deltas = ours.bbox_head(features)
    # Theirs divide the offsets by 10 and the log sizes by 5.
    coder = DeltaXYWHBBoxCoder(target_stds=(0.1, 0.1, 0.2, 0.2))
    anchors = torch.tensor([[3.0, 4.0, 30.0, 28.0]]).repeat(24, 1)
    for index, feature in enumerate(features):
        their_scores, their_deltas = theirs.rpn.head(feature)
        assert_same([cls_scores[index]], [their_scores])
        rows = [
            one.permute(0, 2, 3, 1).reshape(-1, 4)[:24]
            for one in (deltas[index], their_deltas)
        ]
        count = len(rows[0])
        assert_same(
            [ours.bbox_head.bbox_coder.decode(anchors[:count], rows[0])],
            [coder.decode(anchors[:count], rows[1])],
        )


def test_layer_of_another_detector_is_refused(tmp_path):
    theirs = faster_rcnn()
    theirs.roi_heads.mask = torch.nn.Linear(2, 2)
    with pytest.raises(InputError, match="'roi_heads.mask'.*RetinaNet"):
        convert(tmp_path, theirs)
    del theirs.roi_heads.mask, theirs.rpn.head.bbox_pred
    with pytest.raises(InputError, match="no layer 'rpn.head.bbox_pred'"):
        convert(tmp_path, theirs)
    net = MMRazorBackbone(DETECTOR_SPACE, PATH)
    state = {f'backbone.{key}': v for key, v in net.state_dict().items()}
    state['neck.downsample_convs.0.weight'] = torch.ones(2, 2, 1, 1)
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(InputError, match='neck.downsample_convs.0.*FPN'):
        convert_checkpoint(tmp_path / 'a.pth')


@pytest.mark.parametrize('kind', ['faster_rcnn', 'retinanet'])
def test_subnet_of_mmrazor(tmp_path, image, kind):
    """Its detectors are mmdet's: only what the stages give is reordered."""
    cfg = dict(faster_rcnn=faster_rcnn_cfg, retinanet=retinanet_cfg)[kind]()
    detector = MODELS.build(ConfigDict(cfg, _scope_='mmdet'))
    del detector.backbone
    detector.backbone = MMRazorBackbone(DETECTOR_SPACE, PATH)
    randomized(detector).eval()
    file = tmp_path / 'detector.pth'
    state = detector.state_dict()
    torch.save(
        {'state_dict': {f'architecture.{k}': v for k, v in state.items()}},
        file,
    )
    ours = build(cfg, convert_checkpoint(file))
    theirs = detector.neck(detector.backbone(image))
    assert_same(ours.extract_feat(image), theirs)
    head = 'rpn_head' if kind == 'faster_rcnn' else 'bbox_head'
    for name, value in getattr(detector, head).state_dict().items():
        assert torch.equal(getattr(ours, head).state_dict()[name], value)
