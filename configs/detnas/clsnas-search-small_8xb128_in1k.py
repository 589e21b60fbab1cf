# Search of ClsNASNet by ImageNet top-1 on the images held out.
_base_ = './clsnas-supernet-small_8xb128_in1k.py'

val_cfg = dict(
    _delete_=True,
    type='detnas_mm.EvolutionSearchLoop',
    metric='accuracy/top1',
    constraint=dict(max_macs=300e6))
