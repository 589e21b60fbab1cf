# ImageNet pre-training of the backbone that a search found. Give another path
# with --cfg-options model.backbone.path=FILE_OR_NAME.
_base_ = [
    '../_base_/models/detnas_classifier.py',
    '../_base_/datasets/imagenet_bs128.py',
    '../_base_/schedules/imagenet_300k.py',
]

search = 'work_dirs/faster-rcnn_detnas-search-small_fpn_1x_coco'
model = dict(
    backbone=dict(
        _delete_=True,
        type='detnas_mm.DetNASNet',
        path=search + '/best.json',
        out_indices=(3, )))
