# Detector training of the paper on COCO: 90k iterations of 16 images. The
# learning rate is for FPN; RetinaNet has 0.01.
_base_ = 'mmdet::_base_/default_runtime.py'

max_iters = 90000
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4))
warm_up = dict(
    type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=500)
steps = dict(type='MultiStepLR', by_epoch=False, begin=0, gamma=0.1)
param_scheduler = [
    warm_up,
    dict(end=max_iters, milestones=[60000, 80000], **steps),
]
randomness = dict(seed=0)
auto_scale_lr = dict(enable=False, base_batch_size=16)

default_hooks = dict(
    checkpoint=dict(by_epoch=False, interval=10000, max_keep_ckpts=3))
log_processor = dict(by_epoch=False)
