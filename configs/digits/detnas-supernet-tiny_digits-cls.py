# Stage 1 on the embedded digits: pre-train the supernet as a classifier.
_base_ = [
    '../_base_/models/detnas_classifier.py',
    '../_base_/datasets/digits_classification.py',
    'mmpretrain::_base_/default_runtime.py',
]

# With the authors' small initial weights a learning rate that is right for
# a few hundred iterations diverges.
init_cfg = dict(type='Kaiming', layer='Conv2d')
model = dict(
    backbone=dict(search_space='tiny', init_cfg=init_cfg),
    neck=dict(in_channels=256, out_channels=256, init_cfg=init_cfg),
    head=dict(num_classes=10, in_channels=256),
)

max_epochs = 10
train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=max_epochs)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.25, momentum=0.9, weight_decay=4e-5),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = dict(
    type='OneCycleLR',
    eta_max=0.25,
    total_steps=max_epochs,
    by_epoch=True,
    convert_to_iter_based=True,
)
custom_hooks = [
    dict(type='detnas_mm.SinglePathSamplingHook'),
    dict(type='detnas_mm.BNRecalibrationHook', num_images=500),
]
randomness = dict(seed=0)
