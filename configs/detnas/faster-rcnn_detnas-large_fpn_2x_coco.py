_base_ = './faster-rcnn_detnas-small_fpn_2x_coco.py'

search = 'work_dirs/faster-rcnn_detnas-search-large_fpn_1x_coco'
pretrained = 'work_dirs/detnas-large_8xb128_in1k'
model = dict(
    backbone=dict(
        path=search + '/best.json',
        init_cfg=dict(checkpoint=pretrained + '/iter_300000.pth')),
    neck=dict(in_channels=[96, 240, 480, 960]))
