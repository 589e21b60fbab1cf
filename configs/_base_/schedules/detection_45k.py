# Twice the iterations on VOC, for DetNAS-scratch.
_base_ = './detection_90k.py'

max_iters = 45000
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=500),
    dict(
        type='MultiStepLR',
        by_epoch=False,
        begin=0,
        end=max_iters,
        milestones=[30000, 40000],
        gamma=0.1),
]
