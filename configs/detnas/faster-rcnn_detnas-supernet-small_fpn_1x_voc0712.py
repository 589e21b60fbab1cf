# Stage 2 of the paper: the supernet as backbone of a detector. It starts from
# stage 1, work_dirs/detnas-supernet-small_8xb128_in1k. Set another checkpoint
# with --cfg-options model.backbone.init_cfg.checkpoint=FILE.
_base_ = [
    '../_base_/models/faster-rcnn_detnas_fpn.py',
    '../_base_/datasets/voc_detection.py',
    '../_base_/schedules/detection_22.5k.py',
    '../_base_/supernet.py',
]

pretrained = 'work_dirs/detnas-supernet-small_8xb128_in1k/iter_300000.pth'
model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained', checkpoint=pretrained, prefix='backbone.')),
    roi_head=dict(bbox_head=dict(num_classes=20)))
