"""Searched backbones in stock mmdet configs, by mmdet's own means."""

import copy
from pathlib import Path

import cv2
import mmdet
import pytest
import torch
from kit.command_lines import run, run_here
from kit.detectors import detection_batch
from kit.results import write_best
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope

MMDET_TOOLS = Path(mmdet.__file__).parent / '.mim' / 'tools'
STOCK = {
    'FCOS': 'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    'ATSS': 'atss/atss_r50_fpn_1x_coco.py',
    'CascadeRCNN': 'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    'MaskRCNN': 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
}
THREE_LEVELS = {
    'YOLOX': 'yolox/yolox_s_8xb8-300e_coco.py',
    'RTMDet': 'rtmdet/rtmdet_s_8xb32-300e_coco.py',
    'DINO': 'dino/dino-4scale_r50_8xb2-12e_coco.py',
    'DeformableDETR': 'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
    'YOLOV3': 'yolo/yolov3_d53_8xb8-ms-608-273e_coco.py',
}
BY_NAME = """
_base_ = 'mmdet::{stock}'
model = dict(
    backbone=dict(
        _delete_=True, type='detnas_mm.DetNASNet', path='detnas_fpn_300m'),
    neck=dict(in_channels=[64, 160, 320, 640]))
"""
OF_TINY = """
_base_ = 'mmdet::{stock}'
model = dict(
    backbone=dict(
        _delete_=True, type='detnas_mm.DetNASNet', search_space='tiny',
        path='0123012301'),
    neck=dict(in_channels=[32, 64, 128, 256]))
"""
BY_SEARCH = """
_base_ = ['mmdet::{stock}', '{fragment}']
model = dict(
    data_preprocessor=_base_.searched_data_preprocessor,
    backbone=_base_.searched_backbone,
    neck=dict(in_channels=_base_.searched_out_channels))
"""
BY_SEARCH_OF_THREE = """
_base_ = ['mmdet::{stock}', '{fragment}']
model = dict(
    data_preprocessor=_base_.searched_data_preprocessor,
    backbone=dict(**_base_.searched_backbone, out_indices=(1, 2, 3)),
    neck=dict(in_channels=_base_.searched_out_channels[{channels}]))
"""

TWO_ITERATIONS = """
digits = dict(dataset=dict(metainfo=dict(classes=tuple('0123456789'))))
train_dataloader = val_dataloader = test_dataloader = digits
train_cfg = dict(
    _delete_=True, type='IterBasedTrainLoop', max_iters=2, val_interval=2)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=2))
log_processor = dict(by_epoch=False)
"""


@pytest.fixture(scope='module')
def fragment(tmp_path_factory):
    """The config that a search leaves."""
    return write_best(tmp_path_factory.mktemp('search'))


def load(tmp_path, text, **values):
    file = tmp_path / 'config.py'
    file.write_text(text.format(**values))
    return file, Config.fromfile(file)


def check_steps(config, name, batch):
    """Runs a step of training and of prediction."""
    # Batch augmentation asks for it.
    MessageHub.get_current_instance().update_info('iter', 0)
    init_default_scope('mmdet')
    # One process has BN, as MMEngine's Runner makes it.
    model = revert_sync_batchnorm(MODELS.build(config.model))
    model.init_weights()
    assert type(model).__name__ == name
    assert model.backbone.path == (0, 1, 2, 3, 0, 1, 2, 3, 0, 1)
    if name == 'MaskRCNN':
        model.roi_head.mask_head = None  # the toy batch has no masks
    data = model.data_preprocessor(copy.deepcopy(batch), True)
    side = data['inputs'].shape[-1]
    features = model.backbone(data['inputs'])
    strides = [side // feature.shape[-1] for feature in features]
    assert strides == [4, 8, 16, 32][-len(strides) :]
    losses, _ = model.parse_losses(model(**data, mode='loss'))
    losses.backward()
    assert all(
        torch.isfinite(param.grad).all()
        for param in model.backbone.parameters()
    )
    if name == 'MaskRCNN':
        return
    (result,) = model.eval().val_step(batch)
    assert torch.isfinite(result.pred_instances.bboxes).all()


@pytest.mark.parametrize('name', STOCK)
def test_result_of_a_search_is_inherited(tmp_path, fragment, name):
    _, config = load(tmp_path, BY_SEARCH, stock=STOCK[name], fragment=fragment)
    assert set(config.model.backbone) == {
        *('type', 'search_space', 'path', 'shuffle', 'norm_cfg')
    }
    # Several GPUs with few images each share their statistics.
    assert config.model.backbone.norm_cfg.type == 'SyncBN'
    check_steps(config, name, detection_batch(1, seed=0, size=(64, 64)))


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name == 'DINO'))
        for name in THREE_LEVELS
    ],
)
def test_detectors_of_three_levels(tmp_path, fragment, name):
    # YOLOv3 takes its levels from the last to the first.
    channels = ':0:-1' if name == 'YOLOV3' else '1:'
    _, config = load(
        tmp_path,
        BY_SEARCH_OF_THREE,
        stock=THREE_LEVELS[name],
        fragment=fragment,
        channels=channels,
    )
    # So large that DINO finds its 900 queries.
    size = (256, 256) if name == 'DINO' else (128, 128)
    check_steps(config, name, detection_batch(1, seed=0, size=size))


def test_mmdet_trains_tests_and_infers(digits, tmp_path):
    """FCOS through the tools and the inferencer that mmdet installs."""
    file, _ = load(tmp_path, BY_NAME, stock=STOCK['FCOS'])
    options = [
        'model.bbox_head.num_classes=10',
        'model.test_cfg.score_thr=0',
        'train_dataloader.dataset.pipeline.2.scale=(128,128)',
        'val_dataloader.dataset.pipeline.1.scale=(128,128)',
        'test_dataloader.dataset.pipeline.1.scale=(128,128)',
    ]
    for split in ('train', 'val', 'test'):
        part = 'search' if split == 'val' else split
        annotations = f'annotations/instances_{part}.json'
        options += [
            f'{split}_dataloader.num_workers=0',
            f'{split}_dataloader.persistent_workers=False',
            f'{split}_dataloader.dataset.data_root={digits}/',
            f'{split}_dataloader.dataset.ann_file={annotations}',
            f'{split}_dataloader.dataset.data_prefix.img={part}/',
        ]
        if split != 'train':
            options.append(
                f'{split}_evaluator.ann_file={digits}/{annotations}'
            )
    with file.open('a') as config:
        config.write(TWO_ITERATIONS)
    arguments = ['--work-dir', tmp_path, '--cfg-options', *options]
    run(MMDET_TOOLS / 'train.py', file, *arguments, cwd=tmp_path)
    checkpoint = tmp_path / 'iter_2.pth'
    log = run_here(MMDET_TOOLS / 'test.py', file, checkpoint, *arguments)
    assert 'coco/bbox_mAP' in log

    from mmdet.apis import DetInferencer

    inferencer = DetInferencer(
        str(file), str(checkpoint), device='cpu', show_progress=False
    )
    image = cv2.imread(str(sorted((digits / 'test').iterdir())[0]))
    result = inferencer(image, no_save_vis=True)
    assert {'labels', 'scores', 'bboxes'} <= set(result['predictions'][0])


def test_backbone_is_exported(tmp_path, refusal):
    tool = 'deploy/export_detector.py'
    file, config = load(tmp_path, OF_TINY, stock=STOCK['FCOS'])
    init_default_scope('mmdet')
    checkpoint, out = tmp_path / 'detector.pth', tmp_path / 'backbone.pt2'
    model = MODELS.build(config.model)
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    resnet = tmp_path / 'resnet.py'
    resnet.write_text(f"_base_ = 'mmdet::{STOCK['FCOS']}'")
    cases = {
        'multiples of 32': (file, '--shape', 64, 100),
        'got ResNet': (resnet,),
    }
    for expected, (config, *size) in cases.items():
        assert expected in refusal(
            tool, config, checkpoint, out, '--backbone', *size
        )
        assert not out.exists()
    printed = run_here(
        tool, file, checkpoint, out, '--backbone', '--shape', 64, 96
    )
    assert '(N, 3, 64, 96) to 4 feature maps of 32/64/128/256' in printed
    assert 'differs from PyTorch by at most 0.0e+00' in printed
    features = torch.export.load(out).module()(torch.randn(1, 3, 64, 96))
    assert features[0].shape == (1, 32, 16, 24)
