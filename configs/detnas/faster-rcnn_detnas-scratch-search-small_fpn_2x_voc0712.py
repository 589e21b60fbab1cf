# Search of DetNAS-scratch, under 300M multiply-adds.
_base_ = './faster-rcnn_detnas-scratch-supernet-small_fpn_2x_voc0712.py'

val_cfg = dict(
    _delete_=True,
    type='detnas_mm.EvolutionSearchLoop',
    metric='pascal_voc/mAP',
    constraint=dict(max_macs=300e6))
