# Faster R-CNN with FPN and the 4conv1fc head of the paper. SyncBN is where
# the authors' code has it: backbone, FPN and the convolutions of the box head.
# MMEngine turns it into BN in a single process.
_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
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
    neck=dict(in_channels=[64, 160, 320, 640], norm_cfg=norm_cfg),
    roi_head=dict(
        bbox_roi_extractor=dict(roi_layer=dict(sampling_ratio=2)),
        bbox_head=dict(
            type='Shared4Conv1FCBBoxHead',
            conv_out_channels=256,
            norm_cfg=norm_cfg)))
