# "2x" on COCO as in Detectron; also what DetNAS-scratch has.
_base_ = './detection_90k.py'

max_iters = 180000
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    _base_.warm_up,
    dict(end=max_iters, milestones=[120000, 160000], **_base_.steps),
]
