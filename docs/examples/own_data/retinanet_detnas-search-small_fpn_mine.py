# The search of that supernet.
_base_ = './retinanet_detnas-supernet-small_fpn_mine.py'

val_cfg = dict(
    _delete_=True,
    type='detnas_mm.EvolutionSearchLoop',
    metric='coco/bbox_mAP',
    constraint=dict(max_macs=300e6),
)
