# Weights of torchvision: ResNet101_Weights.IMAGENET1K_V1.
_base_ = './faster-rcnn_r50_fpn_1x_coco.py'

model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(checkpoint='checkpoints/resnet101-63fe2227.pth')))
