_base_ = './retinanet_detnas-small_fpn_1x_coco.py'

search = 'work_dirs/retinanet_detnas-search-large_fpn_1x_coco'
pretrained = 'work_dirs/detnas-large-retinanet-coco_8xb128_in1k'
model = dict(
    backbone=dict(
        path=search + '/best.json',
        init_cfg=dict(checkpoint=pretrained + '/iter_300000.pth')),
    neck=dict(in_channels=[96, 240, 480, 960]))
