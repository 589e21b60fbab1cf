_base_ = [
    '../_base_/models/faster-rcnn_resnet_fpn.py',
    '../_base_/datasets/coco_retrain.py',
    '../_base_/schedules/detection_90k.py',
]
