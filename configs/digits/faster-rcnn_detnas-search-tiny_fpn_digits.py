# Stage 3 on the embedded digits: a search that takes minutes.
_base_ = './faster-rcnn_detnas-supernet-tiny_fpn_digits.py'

val_cfg = dict(
    _delete_=True,
    type='detnas_mm.EvolutionSearchLoop',
    metric='coco/bbox_mAP',
    constraint=dict(max_macs=42e6),
    generations=4,
    population=10,
    parents=4)
