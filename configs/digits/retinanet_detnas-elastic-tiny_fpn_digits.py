# Training of a detector with a found backbone of other depth and width, tested
# on the test split. Set another path with --cfg-options
# model.backbone.path=DIGITS.
_base_ = ['../_base_/digits_elastic.py', '../_base_/found_net.py']

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
# One path learns faster than a supernet.
train_cfg = dict(max_epochs=2, val_interval=2)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, by_epoch=False, end=60),
    dict(
        type='CosineAnnealingLR',
        eta_min=0.0,
        convert_to_iter_based=True),
]
