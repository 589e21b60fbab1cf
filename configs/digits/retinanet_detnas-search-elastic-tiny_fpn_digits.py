# Stage 3 in a space whose nets differ in depth and width.
_base_ = './retinanet_detnas-supernet-elastic-tiny_fpn_digits.py'

custom_hooks = [
    dict(type='detnas_mm.SinglePathSamplingHook'),
    dict(type='detnas_mm.BNRecalibrationHook', num_images=128),
]
val_cfg = dict(
    _delete_=True,
    type='detnas_mm.EvolutionSearchLoop',
    metric='coco/bbox_mAP',
    # Equal cost: within 5 %.
    constraint=dict(min_macs=21e6, max_macs=23e6),
    generations=5,
    algorithm=dict(
        type='Evolution', population=12, parents=5, concentration=0.4))
