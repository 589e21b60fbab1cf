# Detector training of the paper on VOC: 22.5k iterations of 16 images.
_base_ = './detection_90k.py'

max_iters = 22500
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    _base_.warm_up,
    dict(end=max_iters, milestones=[15000, 20000], **_base_.steps),
]
