# Supernet of DetNAS-scratch: without pre-training, for twice the iterations.
_base_ = [
    '../_base_/models/retinanet_detnas_fpn.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/detection_180k.py',
    '../_base_/supernet.py',
]

optim_wrapper = dict(optimizer=dict(lr=0.01))
