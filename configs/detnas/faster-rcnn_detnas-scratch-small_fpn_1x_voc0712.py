# The backbone found by DetNAS-scratch, pre-trained like all other nets.
_base_ = './faster-rcnn_detnas-small_fpn_1x_voc0712.py'

search = 'work_dirs/faster-rcnn_detnas-scratch-search-small_fpn_2x_voc0712'
pretrained = 'work_dirs/detnas-scratch-small-faster-rcnn-voc0712_8xb128_in1k'
model = dict(
    backbone=dict(
        path=search + '/best.json',
        init_cfg=dict(checkpoint=pretrained + '/iter_300000.pth')))
