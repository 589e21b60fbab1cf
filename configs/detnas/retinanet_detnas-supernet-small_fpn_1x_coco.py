# Stage 2 of the paper: the supernet as backbone of a detector. It starts from
# stage 1, work_dirs/detnas-supernet-small_8xb128_in1k. Set another checkpoint
# with --cfg-options model.backbone.init_cfg.checkpoint=FILE.
_base_ = [
    '../_base_/models/retinanet_detnas_fpn.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/detection_90k.py',
    '../_base_/supernet.py',
]

pretrained = 'work_dirs/detnas-supernet-small_8xb128_in1k/iter_300000.pth'
model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained', checkpoint=pretrained, prefix='backbone.')))
optim_wrapper = dict(optimizer=dict(lr=0.01))
