# Searches the supernet.
_base_ = './retinanet_detnas-supernet-small_fpn_mine.py'

# ==== Edit here ==============================================================
# Multiply-adds of the backbone at 224 x 224; or max_params, for example.
constraint = dict(max_macs=300e6)
generations, population = 20, 50
# ==== Nothing to edit below ==================================================

val_cfg = dict(
    _delete_=True,
    type='detnas_mm.EvolutionSearchLoop',
    metric='coco/bbox_mAP',
    constraint=constraint,
    generations=generations,
    # A fifth of a generation, as in the paper: 10 of 50.
    algorithm=dict(
        type='Evolution',
        population=population,
        parents=max(population // 5, 1),
    ),
)
