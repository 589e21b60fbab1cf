# Stage 2 in a space whose nets differ in depth and width. It starts from
# stage 1, work_dirs/detnas-supernet-elastic-tiny_digits-cls.
_base_ = [
    '../_base_/models/retinanet_detnas-elastic-tiny_fpn_digits.py',
    '../_base_/datasets/digits_detection.py',
    '../_base_/schedules/digits_detection.py',
    '../_base_/supernet.py',
]

pretrained = 'work_dirs/detnas-supernet-elastic-tiny_digits-cls/epoch_10.pth'
model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained', checkpoint=pretrained, prefix='backbone.')))
# The number of updates counts: small batches.
train_dataloader = dict(batch_size=8)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=4e-3, weight_decay=0.05))
custom_hooks = [
    dict(type='detnas_mm.SinglePathSamplingHook', concentration=0.4),
    dict(type='detnas_mm.BNRecalibrationHook', num_images=500),
]
