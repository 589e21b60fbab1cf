# RetinaNet with SyncBN where the authors' code has it: backbone and FPN, not
# the head; MMEngine turns it into BN on a single process.
_base_ = 'mmdet::_base_/models/retinanet_r50_fpn.py'

norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    # The authors' input: BGR from 0 to 255, the first BN absorbs the scale.
    data_preprocessor=dict(
        mean=[0.0, 0.0, 0.0], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
    backbone=dict(
        _delete_=True,
        type='detnas_mm.DetNASSupernet',
        search_space='small',
        norm_cfg=norm_cfg),
    neck=dict(in_channels=[64, 160, 320, 640], norm_cfg=norm_cfg))
