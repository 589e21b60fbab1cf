# The supernet of the small space as a detector of ten classes: the differences
# to the paper's config for COCO. For Faster R-CNN write `faster-rcnn` in place
# of `retinanet` here; the configs of search and retraining inherit it.
_base_ = (
    '../../../configs/detnas/retinanet_detnas-supernet-small_fpn_1x_coco.py'
)

# ==== Edit here ==============================================================
data_root = 'data/mine'
# Folders of images in it.
train_folder = 'train/'
test_folder = 'test/'
# Annotations in COCO's format in it: all training images, the two parts that
# the converter made of them, and the images of the final test.
train_file = 'annotations/instances_train.json'
train_part = 'annotations/detnas_train_mine.json'
search_part = 'annotations/detnas_search_mine.json'
test_file = 'annotations/instances_test.json'
# The names of the categories in these files.
classes = ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9')
image_scale = (256, 256)  # longer and shorter side at most; COCO (1333, 800)
flip_prob = 0.0  # 0.5, unless a flip changes the class, as for digits
batch_size = 16  # on one GPU
calibration_images = 200  # 500, if there are as many training images
# The supernet pre-trained on ImageNet, or None: then all nets start from
# random weights and train for twice the iterations.
pretrained = 'work_dirs/detnas-supernet-small_8xb128_in1k/iter_300000.pth'
max_iters = 3000 if pretrained else 6000
# ==== Nothing to edit below ==================================================

metainfo = dict(classes=classes)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=image_scale, keep_ratio=True),
    dict(type='RandomFlip', prob=flip_prob),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_scale, keep_ratio=True),
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
    batch_size=batch_size,
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file=train_part,
        data_prefix=dict(img=train_folder),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file=search_part,
        data_prefix=dict(img=train_folder),
        pipeline=test_pipeline,
    )
)
val_evaluator = dict(ann_file=data_root + '/' + search_part)
test_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file=test_file,
        data_prefix=dict(img=test_folder),
        pipeline=test_pipeline,
    )
)
test_evaluator = dict(ann_file=data_root + '/' + test_file)

heads = dict(bbox_head=dict(num_classes=len(classes)))
model = dict(
    backbone=dict(
        init_cfg=dict(checkpoint=pretrained) if pretrained else None
    ),
    # Two-stage detectors know the classes in their second stage.
    **(dict(roi_head=heads) if 'roi_head' in _base_.model else heads),
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
    dict(type='detnas_mm.BNRecalibrationHook', num_images=calibration_images),
]
# What a stopped training goes on from, by --resume.
default_hooks = dict(checkpoint=dict(interval=500))
