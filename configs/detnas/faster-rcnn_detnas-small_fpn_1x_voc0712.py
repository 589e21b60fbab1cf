# Training of a found backbone as in the paper. Set another path with
# --cfg-options model.backbone.path=FILE_OR_NAME.
_base_ = [
    '../_base_/models/faster-rcnn_detnasnet_fpn.py',
    '../_base_/datasets/voc_retrain.py',
    '../_base_/schedules/detection_22.5k.py',
]

search = 'work_dirs/faster-rcnn_detnas-search-small_fpn_1x_voc0712'
pretrained = 'work_dirs/detnas-small-faster-rcnn-voc0712_8xb128_in1k'
model = dict(
    backbone=dict(
        path=search + '/best.json',
        init_cfg=dict(checkpoint=pretrained + '/iter_300000.pth')),
    roi_head=dict(bbox_head=dict(num_classes=20)))
