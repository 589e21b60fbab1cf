# Training of a detector with a found backbone of other depth and width.
_base_ = [
    '../_base_/models/retinanet_detnas_fpn_digits-light.py',
    '../_base_/datasets/digits_detection_96.py',
    '../_base_/schedules/digits_detection_adamw.py',
]

pretrained = 'work_dirs/detnas-elastic-tiny_digits-cls/epoch_4.pth'
search = 'work_dirs/retinanet_detnas-search-elastic-tiny_fpn_digits'
model = dict(
    backbone=dict(
        _delete_=True,
        type='detnas_mm.DetNASNet',
        search_space='elastic_tiny',
        path=search + '/best.json',
        init_cfg=dict(
            type='Pretrained', checkpoint=pretrained, prefix='backbone.')))
