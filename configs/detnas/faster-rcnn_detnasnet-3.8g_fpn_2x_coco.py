# DetNASNet (3.8G), a path that the authors published.
_base_ = './faster-rcnn_detnas-small_fpn_2x_coco.py'

pretrained = 'work_dirs/detnasnet-3.8g_8xb128_in1k'
model = dict(
    backbone=dict(
        path='detnasnet_3.8g',
        init_cfg=dict(checkpoint=pretrained + '/iter_300000.pth')),
    neck=dict(in_channels=[172, 432, 864, 1728]))
