# Stage 2 in a space whose nets differ in depth and width. It starts from
# stage 1, work_dirs/detnas-supernet-elastic-tiny_digits-cls.
_base_ = ['../_base_/digits_elastic.py', '../_base_/supernet.py']

pretrained = 'work_dirs/detnas-supernet-elastic-tiny_digits-cls/epoch_10.pth'
model = dict(
    backbone=dict(
        entangled=True,
        init_cfg=dict(
            type='Pretrained', checkpoint=pretrained, prefix='backbone.')))
