_base_ = './faster-rcnn_detnas-supernet-small_fpn_1x_coco.py'

pretrained = 'work_dirs/detnas-supernet-large_8xb128_in1k/iter_300000.pth'
model = dict(
    backbone=dict(
        search_space='large', init_cfg=dict(checkpoint=pretrained)),
    neck=dict(in_channels=[96, 240, 480, 960]))
