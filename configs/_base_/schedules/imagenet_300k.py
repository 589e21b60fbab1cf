# Pre-training of the paper: 300k iterations of 1024 images, learning rate 0.5
# falling linearly to 0, weight decay on weights of more than one dimension.
_base_ = 'mmpretrain::_base_/default_runtime.py'

max_iters = 300000
train_cfg = dict(by_epoch=False, max_iters=max_iters, val_interval=10000)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    # Two groups of parameters instead of one for each parameter.
    constructor='detnas_mm.MergedGroupsConstructor',
    optimizer=dict(type='SGD', lr=0.5, momentum=0.9, weight_decay=4e-5),
    paramwise_cfg=dict(flat_decay_mult=0.0))
param_scheduler = dict(
    type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, end=max_iters)
randomness = dict(seed=0)
auto_scale_lr = dict(base_batch_size=1024)

default_hooks = dict(
    checkpoint=dict(
        type='CheckpointHook',
        by_epoch=False,
        interval=10000,
        max_keep_ckpts=3))
log_processor = dict(by_epoch=False)
