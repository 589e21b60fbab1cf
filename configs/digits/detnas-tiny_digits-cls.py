# Pre-training of a found backbone. Set another path with
# --cfg-options model.backbone.path=DIGITS.
_base_ = [
    '../_base_/models/detnas_classifier_digits.py',
    '../_base_/datasets/digits_classification.py',
    '../_base_/schedules/digits_classification.py',
]

search = 'work_dirs/retinanet_detnas-search-tiny_fpn_digits'
model = dict(
    backbone=dict(
        _delete_=True,
        type='detnas_mm.DetNASNet',
        search_space='tiny',
        path=search + '/best.json',
        out_indices=(3, ),
        init_cfg=_base_.init_cfg))
# One path learns faster than a supernet.
warm_up_epochs = 1
train_cfg = dict(max_epochs=4, val_interval=4)
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
