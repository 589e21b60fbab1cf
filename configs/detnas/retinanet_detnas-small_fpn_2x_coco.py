# Like 1x, for twice the iterations ("2x" in Detectron).
_base_ = [
    '../_base_/models/retinanet_detnasnet_fpn.py',
    '../_base_/datasets/coco_retrain.py',
    '../_base_/schedules/detection_180k.py',
]

search = 'work_dirs/retinanet_detnas-search-small_fpn_1x_coco'
pretrained = 'work_dirs/detnas-small-retinanet-coco_8xb128_in1k'
model = dict(
    backbone=dict(
        path=search + '/best.json',
        init_cfg=dict(checkpoint=pretrained + '/iter_300000.pth')))
optim_wrapper = dict(optimizer=dict(lr=0.01))
