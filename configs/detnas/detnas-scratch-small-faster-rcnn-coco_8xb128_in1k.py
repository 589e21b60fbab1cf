# ImageNet pre-training of the backbone that DetNAS-scratch found with
# Faster R-CNN on COCO.
_base_ = './detnas-small_8xb128_in1k.py'

search = 'work_dirs/faster-rcnn_detnas-scratch-search-small_fpn_2x_coco'
model = dict(backbone=dict(path=search + '/best.json'))
