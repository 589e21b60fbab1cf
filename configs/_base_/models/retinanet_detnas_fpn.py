# RetinaNet with SyncBN where the authors' code has it: backbone and FPN, not
# the head. MMEngine turns it into BN in a single process.
_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    '../inputs/{{$DETNAS_INPUT:bgr255}}.py',
]

norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    data_preprocessor=dict(
        mean=_base_.input_mean,
        std=_base_.input_std,
        bgr_to_rgb=_base_.input_is_rgb),
    backbone=dict(
        _delete_=True,
        type='detnas_mm.DetNASSupernet',
        search_space='small',
        norm_cfg=norm_cfg),
    neck=dict(in_channels=[64, 160, 320, 640], norm_cfg=norm_cfg))
