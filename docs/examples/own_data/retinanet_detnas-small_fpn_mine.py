# The found backbone, trained on all training images.
_base_ = './retinanet_detnas-supernet-small_fpn_mine.py'

# ==== Edit here if yours are elsewhere =======================================
search = 'work_dirs/retinanet_detnas-search-small_fpn_mine'
net_pretrained = 'work_dirs/detnas-small_8xb128_in1k_mine/iter_300000.pth'
# ==== Nothing to edit below ==================================================

pretrained = net_pretrained if _base_.pretrained else None
model = dict(
    backbone=dict(
        _delete_=True,
        type='detnas_mm.DetNASNet',
        path=search + '/best.json',
        norm_cfg=_base_.norm_cfg,
        init_cfg=pretrained
        and dict(type='Pretrained', checkpoint=pretrained, prefix='backbone.'),
    )
)
train_dataloader = dict(dataset=dict(ann_file=_base_.train_file))
val_dataloader = _base_.test_dataloader
val_evaluator = _base_.test_evaluator
# With one path there is nothing to sample, and all blocks get gradients.
custom_hooks = []
find_unused_parameters = False
