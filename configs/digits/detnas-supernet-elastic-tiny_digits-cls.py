# Stage 1 in a space whose nets differ in depth and width.
_base_ = './detnas-supernet-tiny_digits-cls.py'

model = dict(
    # Choices of a block share their convolutions, which learn more often then.
    backbone=dict(search_space='elastic_tiny', entangled=True),
    neck=dict(in_channels=128, out_channels=128),
    head=dict(in_channels=128))
optim_wrapper = dict(
    optimizer=dict(
        _delete_=True, type='AdamW', lr=1e-2, weight_decay=0.05, fused=True))
