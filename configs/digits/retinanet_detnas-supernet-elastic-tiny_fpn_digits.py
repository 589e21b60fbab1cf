# Stage 2 in a space whose nets differ in depth and width. It starts from
# stage 1, work_dirs/detnas-supernet-elastic-tiny_digits-cls.
_base_ = './retinanet_detnas-supernet-tiny_fpn_digits.py'

pretrained = 'work_dirs/detnas-supernet-elastic-tiny_digits-cls/epoch_10.pth'
model = dict(
    backbone=dict(
        search_space='elastic_tiny', init_cfg=dict(checkpoint=pretrained)))
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=4e-3, weight_decay=0.05))
custom_hooks = [
    dict(type='detnas_mm.SinglePathSamplingHook', concentration=0.4),
    dict(type='detnas_mm.BNRecalibrationHook', num_images=500),
]
