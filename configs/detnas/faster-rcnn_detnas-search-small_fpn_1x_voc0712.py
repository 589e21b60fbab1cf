# Stage 3 of the paper: evolutionary search under 300M multiply-adds.
_base_ = './faster-rcnn_detnas-supernet-small_fpn_1x_voc0712.py'

val_cfg = dict(
    _delete_=True,
    type='detnas_mm.EvolutionSearchLoop',
    metric='pascal_voc/mAP',
    constraint=dict(max_macs=300e6))
