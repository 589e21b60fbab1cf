# The supernet of the small space as detector of ten classes: what differs from
# the paper's config for COCO.
_base_ = (
    '../../../configs/detnas/retinanet_detnas-supernet-small_fpn_1x_coco.py'
)

# The supernet pre-trained on ImageNet. Without one: None; then all starts from
# random weights, and takes twice the iterations.
pretrained = 'work_dirs/detnas-supernet-small_8xb128_in1k/iter_300000.pth'
max_iters = 3000 if pretrained else 6000

data_root = 'data/mine/'
metainfo = dict(classes=('0', '1', '2', '3', '4', '5', '6', '7', '8', '9'))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    # No flip: a mirrored digit is another sign.
    dict(type='Resize', scale=(256, 256), keep_ratio=True),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(256, 256), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=(
            'img_id',
            'img_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
        ),
    ),
]
train_dataloader = dict(
    batch_size=16,  # on one GPU
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/detnas_train_mine.json',
        data_prefix=dict(img='train/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/detnas_search_mine.json',
        data_prefix=dict(img='train/'),
        pipeline=test_pipeline,
    )
)
val_evaluator = dict(
    ann_file=data_root + 'annotations/detnas_search_mine.json'
)
test_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/instances_test.json',
        data_prefix=dict(img='test/'),
        pipeline=test_pipeline,
    )
)
test_evaluator = dict(ann_file=data_root + 'annotations/instances_test.json')

model = dict(
    backbone=dict(
        init_cfg=dict(checkpoint=pretrained) if pretrained else None
    ),
    bbox_head=dict(num_classes=len(metainfo['classes'])),
)

train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=500
    ),
    dict(
        type='MultiStepLR',
        by_epoch=False,
        begin=0,
        end=max_iters,
        milestones=[max_iters * 2 // 3, max_iters * 8 // 9],
        gamma=0.1,
    ),
]
custom_hooks = [
    dict(type='detnas_mm.SinglePathSamplingHook'),
    dict(type='detnas_mm.BNRecalibrationHook', num_images=200),
]
# What a stopped training goes on from, by --resume.
default_hooks = dict(checkpoint=dict(interval=500))
