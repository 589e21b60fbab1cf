# ClsNASNet, found on ImageNet, as backbone of a detector.
_base_ = './retinanet_detnas-small_fpn_1x_voc0712.py'

search = 'work_dirs/clsnas-search-small_8xb128_in1k'
pretrained = 'work_dirs/clsnas-small_8xb128_in1k'
model = dict(
    backbone=dict(
        path=search + '/best.json',
        init_cfg=dict(checkpoint=pretrained + '/iter_300000.pth')))
