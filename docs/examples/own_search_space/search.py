# Searches the supernet under a bound on multiply-adds.
_base_ = './supernet.py'

custom_hooks = [
    dict(type='detnas_mm.SinglePathSamplingHook'),
    dict(type='detnas_mm.BNRecalibrationHook', num_images=128),
]
val_cfg = dict(
    _delete_=True,
    type='detnas_mm.EvolutionSearchLoop',
    metric='coco/bbox_mAP',
    constraint=dict(max_macs=60e6),
    generations=3,
    algorithm=dict(type='Evolution', population=10, parents=4))
