# A head of a quarter of the cost, so that the backbone decides.
_base_ = './retinanet_detnas_fpn_digits.py'

model = dict(
    neck=dict(out_channels=32),
    bbox_head=dict(in_channels=32, feat_channels=32, stacked_convs=1))
