# Twice the iterations on VOC, for DetNAS-scratch.
_base_ = './detection_90k.py'

max_iters = 45000
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    _base_.warm_up,
    dict(end=max_iters, milestones=[30000, 40000], **_base_.steps),
]
