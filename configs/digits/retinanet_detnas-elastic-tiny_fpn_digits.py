# Training of a detector with a found backbone of other depth and width, tested
# on the test split. Set another path with --cfg-options
# model.backbone.path=DIGITS.
_base_ = [
    '../_base_/models/retinanet_detnas-elastic-tiny_fpn_digits.py',
    '../_base_/datasets/digits_detection.py',
    '../_base_/schedules/digits_detection.py',
    '../_base_/found_net.py',
]

pretrained = 'work_dirs/detnas-elastic-tiny_digits-cls/epoch_4.pth'
search = 'work_dirs/retinanet_detnas-search-elastic-tiny_fpn_digits'
model = dict(
    backbone=dict(
        _delete_=True,
        type='detnas_mm.DetNASNet',
        search_space='elastic_tiny',
        path=search + '/best.json',
        init_cfg=dict(
            type='Pretrained', checkpoint=pretrained, prefix='backbone.')))
# The number of updates counts: small batches.
train_dataloader = dict(batch_size=8)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=4e-3, weight_decay=0.05))
# One path learns faster than a supernet.
max_epochs = 2
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, by_epoch=False, end=60),
    dict(
        type='CosineAnnealingLR',
        end=max_epochs,
        T_max=max_epochs,
        eta_min=0.0,
        convert_to_iter_based=True),
]
