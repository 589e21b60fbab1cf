# Pre-training of a backbone that a search found. Give another path with
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
train_cfg = dict(max_epochs=6, val_interval=6)
param_scheduler = dict(total_steps=6)
