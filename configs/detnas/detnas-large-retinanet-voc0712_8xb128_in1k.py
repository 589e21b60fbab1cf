# ImageNet pre-training of the backbone found with RetinaNet on VOC,
# large space.
_base_ = './detnas-large_8xb128_in1k.py'

search = 'work_dirs/retinanet_detnas-search-large_fpn_1x_voc0712'
model = dict(backbone=dict(path=search + '/best.json'))
