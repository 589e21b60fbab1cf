# Training of a found backbone as in the paper. Set another path with
# --cfg-options model.backbone.path=FILE_OR_NAME.
_base_ = [
    '../_base_/models/retinanet_detnasnet_fpn.py',
    '../_base_/datasets/coco_retrain.py',
    '../_base_/schedules/detection_90k.py',
]

search = 'work_dirs/retinanet_detnas-search-small_fpn_1x_coco'
pretrained = 'work_dirs/detnas-small-retinanet-coco_8xb128_in1k'
model = dict(
    backbone=dict(
        path=search + '/best.json',
        init_cfg=dict(checkpoint=pretrained + '/iter_300000.pth')))
optim_wrapper = dict(optimizer=dict(lr=0.01))
