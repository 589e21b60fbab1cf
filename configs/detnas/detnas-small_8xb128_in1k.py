# ImageNet pre-training of the backbone that the search with Faster R-CNN on
# COCO found. Set another path with
# --cfg-options model.backbone.path=FILE_OR_NAME.
_base_ = [
    '../_base_/models/detnasnet_classifier.py',
    '../_base_/datasets/imagenet_bs128.py',
    '../_base_/schedules/imagenet_300k.py',
]

search = 'work_dirs/faster-rcnn_detnas-search-small_fpn_1x_coco'
model = dict(backbone=dict(path=search + '/best.json'))
