# Light neck and heads, so that the backbone does most of the work.
_base_ = './retinanet_detnas_fpn_digits.py'

model = dict(
    backbone=dict(search_space='elastic_tiny'),
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=32),
    bbox_head=dict(in_channels=32, feat_channels=32, stacked_convs=1))
