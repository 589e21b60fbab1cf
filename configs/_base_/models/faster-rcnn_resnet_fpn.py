# Faster R-CNN with ResNet-50, and as in DetNAS the 4conv1fc head, SyncBN
# everywhere and nothing frozen. It starts from torchvision's weights, a local
# file: ResNet50_Weights.IMAGENET1K_V1, resnet50-0676ba61.pth. Its input is
# therefore the normalized RGB of torchvision.
_base_ = './faster-rcnn_detnas_fpn.py'

model = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=-1,
        norm_cfg=_base_.norm_cfg,
        norm_eval=False,
        style='pytorch',
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/resnet50-0676ba61.pth')),
    neck=dict(in_channels=[256, 512, 1024, 2048]))
