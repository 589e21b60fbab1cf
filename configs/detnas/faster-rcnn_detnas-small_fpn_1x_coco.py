# The backbone that a search found, trained as the paper trains it. Give
# another path with --cfg-options model.backbone.path=FILE_OR_NAME.
_base_ = [
    '../_base_/models/faster-rcnn_detnas_fpn.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/detection_90k.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='detnas_mm.DetNASNet',
        path='work_dirs/faster-rcnn_detnas-search-small_fpn_1x_coco/best.json',
        norm_cfg=_base_.norm_cfg,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/detnas-small_8xb128_in1k/iter_300000.pth',
            prefix='backbone.')))
# Trained on all of train2017 and tested on val2017, as in the paper.
train_dataloader = dict(
    dataset=dict(ann_file='annotations/instances_train2017.json'))
val_dataloader = _base_.test_dataloader
val_evaluator = _base_.test_evaluator
