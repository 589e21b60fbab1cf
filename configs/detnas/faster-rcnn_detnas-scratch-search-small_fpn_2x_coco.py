# Search of DetNAS-scratch, under 300M multiply-adds.
_base_ = './faster-rcnn_detnas-scratch-supernet-small_fpn_2x_coco.py'

val_cfg = dict(
    _delete_=True,
    type='detnas_mm.EvolutionSearchLoop',
    metric='coco/bbox_mAP',
    constraint=dict(max_macs=300e6))
