# DetNAS-COCO-FPN-300M, a path that the authors published.
_base_ = './faster-rcnn_detnas-small_fpn_2x_coco.py'

pretrained = 'work_dirs/detnas-fpn-300m_8xb128_in1k'
model = dict(
    backbone=dict(
        path='detnas_fpn_300m',
        init_cfg=dict(checkpoint=pretrained + '/iter_300000.pth')))
