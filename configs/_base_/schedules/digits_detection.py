# A short schedule for the embedded digits: SGD with warm-up and cosine.
_base_ = 'mmdet::_base_/default_runtime.py'

warm_up_epochs = 1
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=5, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=10.0))
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
    logger=dict(interval=25),
    checkpoint=dict(max_keep_ckpts=1, save_optimizer=True))
randomness = dict(seed=0)
auto_scale_lr = dict(enable=False, base_batch_size=16)
