# Stage 2 on the embedded digits: the supernet as backbone of a detector. It
# starts from stage 1, work_dirs/detnas-supernet-tiny_digits-cls.
_base_ = [
    '../_base_/models/faster-rcnn_detnas_fpn_digits.py',
    '../_base_/datasets/digits_detection.py',
    '../_base_/schedules/digits_detection.py',
    '../_base_/supernet.py',
]

pretrained = 'work_dirs/detnas-supernet-tiny_digits-cls/epoch_10.pth'
model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained', checkpoint=pretrained, prefix='backbone.')))
