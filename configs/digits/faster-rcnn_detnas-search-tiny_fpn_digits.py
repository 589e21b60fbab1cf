# Stage 3 on the embedded digits: a search that takes minutes.
_base_ = './faster-rcnn_detnas-supernet-tiny_fpn_digits.py'

custom_hooks = [
    dict(type='detnas_mm.SinglePathSamplingHook'),
    dict(type='detnas_mm.BNRecalibrationHook', num_images=128),
]
val_cfg = dict(
    _delete_=True,
    type='detnas_mm.EvolutionSearchLoop',
    metric='coco/bbox_mAP',
    constraint=dict(max_macs=42e6),
    generations=3,
    algorithm=dict(type='Evolution', population=10, parents=4))
