# A short schedule for the embedded digits: SGD, one cycle over all epochs.
_base_ = 'mmpretrain::_base_/default_runtime.py'

max_epochs = 12
train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=max_epochs)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=4e-5),
    clip_grad=dict(max_norm=5.0))
param_scheduler = dict(
    type='OneCycleLR',
    eta_max=0.1,
    total_steps=max_epochs,
    by_epoch=True,
    convert_to_iter_based=True)
default_hooks = dict(
    logger=dict(interval=50), checkpoint=dict(max_keep_ckpts=1))
randomness = dict(seed=0)
auto_scale_lr = dict(base_batch_size=32)
