_base_ = [
    '../_base_/models/retinanet_detnasnet_fpn.py',
    '../_base_/backbones/shufflenetv2-20.py',
    '../_base_/datasets/coco_retrain.py',
    '../_base_/schedules/detection_90k.py',
]

pretrained = 'work_dirs/shufflenetv2-20_8xb128_in1k'
model = dict(
    backbone=dict(
        init_cfg=dict(checkpoint=pretrained + '/iter_300000.pth'),
        **_base_.net),
    neck=dict(in_channels=_base_.net_channels))
optim_wrapper = dict(optimizer=dict(lr=0.01))
