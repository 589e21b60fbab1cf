# The backbone found by DetNAS-scratch, pre-trained like all other nets.
_base_ = './faster-rcnn_detnas-small_fpn_1x_coco.py'

search = 'work_dirs/faster-rcnn_detnas-scratch-search-small_fpn_2x_coco'
pretrained = 'work_dirs/detnas-scratch-small-faster-rcnn-coco_8xb128_in1k'
model = dict(
    backbone=dict(
        path=search + '/best.json',
        init_cfg=dict(checkpoint=pretrained + '/iter_300000.pth')))
