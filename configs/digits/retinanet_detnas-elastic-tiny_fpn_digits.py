# Training of a detector with a found backbone of other depth and width.
_base_ = './retinanet_detnas-tiny_fpn_digits.py'

pretrained = 'work_dirs/detnas-elastic-tiny_digits-cls/epoch_4.pth'
search = 'work_dirs/retinanet_detnas-search-elastic-tiny_fpn_digits'
model = dict(
    backbone=dict(
        search_space='elastic_tiny',
        path=search + '/best.json',
        init_cfg=dict(checkpoint=pretrained)))
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=2e-3, weight_decay=0.05))
