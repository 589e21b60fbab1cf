# DetNASNet (1.3G), a path that the authors published.
_base_ = './faster-rcnn_detnas-small_fpn_1x_coco.py'

pretrained = 'work_dirs/detnasnet-1.3g_8xb128_in1k'
model = dict(
    backbone=dict(
        path='detnasnet_1.3g',
        init_cfg=dict(checkpoint=pretrained + '/iter_300000.pth')),
    neck=dict(in_channels=[96, 240, 480, 960]))
