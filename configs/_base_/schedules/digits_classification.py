# A short schedule for the embedded digits: SGD with warm-up and cosine.
_base_ = 'mmpretrain::_base_/default_runtime.py'

warm_up_epochs = 3
train_cfg = dict(by_epoch=True, max_epochs=10, val_interval=10)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=4e-5),
    clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.04,
        end=warm_up_epochs,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        begin=warm_up_epochs,
        eta_min=0.0,
        convert_to_iter_based=True),
]
default_hooks = dict(
    channels_last=dict(type='detnas_mm.ChannelsLastHook'),
    logger=dict(interval=50), checkpoint=dict(max_keep_ckpts=1))
randomness = dict(seed=0)
auto_scale_lr = dict(base_batch_size=32)
