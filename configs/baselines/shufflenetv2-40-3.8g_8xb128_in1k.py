_base_ = [
    '../_base_/models/detnas_classifier.py',
    '../_base_/backbones/shufflenetv2-40-3.8g.py',
    '../_base_/datasets/imagenet_bs128.py',
    '../_base_/schedules/imagenet_300k.py',
]

model = dict(
    backbone=dict(_delete_=True, out_indices=(3, ), **_base_.net),
    neck=dict(in_channels=_base_.net_channels[-1]))
