# Stage 3 of the paper: evolutionary search under 1.3G multiply-adds.
# The paper gives no bound for the large space. 1.3G is the size of its
# DetNASNet, and nearly every path meets it.
_base_ = './faster-rcnn_detnas-supernet-large_fpn_1x_coco.py'

val_cfg = dict(
    _delete_=True,
    type='detnas_mm.EvolutionSearchLoop',
    metric='coco/bbox_mAP',
    constraint=dict(max_macs=1.3e9))
