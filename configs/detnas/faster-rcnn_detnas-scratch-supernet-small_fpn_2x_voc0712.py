# Supernet of DetNAS-scratch: without pre-training, for twice the iterations.
_base_ = [
    '../_base_/models/faster-rcnn_detnas_fpn.py',
    '../_base_/datasets/voc_detection.py',
    '../_base_/schedules/detection_45k.py',
    '../_base_/supernet.py',
]

model = dict(roi_head=dict(bbox_head=dict(num_classes=20)))
