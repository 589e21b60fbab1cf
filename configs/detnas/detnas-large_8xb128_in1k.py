# ImageNet pre-training of the backbone found with Faster R-CNN on COCO,
# large space.
_base_ = './detnas-small_8xb128_in1k.py'

search = 'work_dirs/faster-rcnn_detnas-search-large_fpn_1x_coco'
model = dict(
    backbone=dict(path=search + '/best.json'),
    neck=dict(in_channels=960))
