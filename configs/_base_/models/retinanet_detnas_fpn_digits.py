# A small RetinaNet for digits of 20 to 48 pixels on images of 128 pixels.
_base_ = './retinanet_detnas_fpn.py'

norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    backbone=dict(search_space='tiny', norm_cfg=norm_cfg),
    neck=dict(
        in_channels=[32, 64, 128, 256],
        out_channels=64,
        num_outs=3,
        add_extra_convs=False,
        norm_cfg=norm_cfg),
    bbox_head=dict(
        num_classes=10,
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        # Not BN: the levels share the head, but not their statistics.
        norm_cfg=dict(type='GN', num_groups=8, requires_grad=True),
        anchor_generator=dict(
            octave_base_scale=2, ratios=[1.0, 1.6], strides=[8, 16, 32]),
        # Boxes become tight within a few epochs.
        reg_decoded_bbox=True,
        loss_bbox=dict(_delete_=True, type='GIoULoss', loss_weight=2.0)),
    test_cfg=dict(nms_pre=200, max_per_img=20))
