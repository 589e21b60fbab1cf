# Training of a detector with a found backbone, tested on the test split. Set
# another path with --cfg-options model.backbone.path=DIGITS.
_base_ = [
    '../_base_/models/retinanet_detnas_fpn_digits.py',
    '../_base_/datasets/digits_detection.py',
    '../_base_/schedules/digits_detection.py',
    '../_base_/found_net.py',
]

pretrained = 'work_dirs/detnas-tiny_digits-cls/epoch_4.pth'
model = dict(
    backbone=dict(
        _delete_=True,
        type='detnas_mm.DetNASNet',
        search_space='tiny',
        path='work_dirs/retinanet_detnas-search-tiny_fpn_digits/best.json',
        init_cfg=dict(
            type='Pretrained', checkpoint=pretrained, prefix='backbone.')))
