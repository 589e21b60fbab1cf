# "2x" on COCO as in Detectron; also what DetNAS-scratch has.
_base_ = './detection_90k.py'

max_iters = 180000
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=500),
    dict(
        type='MultiStepLR',
        by_epoch=False,
        begin=0,
        end=max_iters,
        milestones=[120000, 160000],
        gamma=0.1),
]
