# ImageNet pre-training of the backbone found with Faster R-CNN on VOC.
_base_ = './detnas-small_8xb128_in1k.py'

search = 'work_dirs/faster-rcnn_detnas-search-small_fpn_1x_voc0712'
model = dict(backbone=dict(path=search + '/best.json'))
