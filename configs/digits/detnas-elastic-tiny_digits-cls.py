# Pre-training of a found backbone of other depth and width.
_base_ = './detnas-tiny_digits-cls.py'

search = 'work_dirs/retinanet_detnas-search-elastic-tiny_fpn_digits'
model = dict(
    # With AdamW, the authors' small weights learn sooner than PyTorch's.
    backbone=dict(
        search_space='elastic_tiny',
        path=search + '/best.json',
        init_cfg=None),
    neck=dict(in_channels=128, out_channels=128),
    head=dict(in_channels=128))
optim_wrapper = dict(
    optimizer=dict(
        _delete_=True, type='AdamW', lr=1e-2, weight_decay=0.05, fused=True))
