# VOC 07+12 with a search split: 5k images held out of trainval2007 and
# trainval2012, on which candidates are compared. Make its lists with
# `python tools/dataset_converters/voc_search_split.py data/VOCdevkit`.
# Validation uses the search split; test2007 is for the final test only.
#
# mAP is at IoU 0.5 with VOC2007's 11 points; set eval_mode='area' for the area
# under the curve of precision and recall. Objects marked as difficult are
# neither trained on nor counted.
data_root = 'data/VOCdevkit/'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    # Loaded after the resizing, so that boxes stay as in the file.
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                   'scale_factor')),
]

voc2007 = dict(
    type='VOCDataset',
    data_root=data_root,
    data_prefix=dict(sub_data_root='VOC2007/'))
voc2012 = dict(
    type='VOCDataset',
    data_root=data_root,
    data_prefix=dict(sub_data_root='VOC2012/'))
train_settings = dict(
    filter_cfg=dict(filter_empty_gt=True, min_size=32),
    pipeline=train_pipeline)
test_settings = dict(test_mode=True, pipeline=test_pipeline)
# The years differ in their `dataset_type`. VOCMetric takes the first one and
# uses it for a warning only.
both_years = dict(type='ConcatDataset', ignore_keys=['dataset_type'])

train_dataloader = dict(
    batch_size=2,  # on each of 8 GPUs
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        datasets=[
            dict(
                ann_file='VOC2007/ImageSets/Main/detnas_train.txt',
                **voc2007,
                **train_settings),
            dict(
                ann_file='VOC2012/ImageSets/Main/detnas_train.txt',
                **voc2012,
                **train_settings),
        ],
        **both_years))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        datasets=[
            dict(
                ann_file='VOC2007/ImageSets/Main/detnas_search.txt',
                **voc2007,
                **test_settings),
            dict(
                ann_file='VOC2012/ImageSets/Main/detnas_search.txt',
                **voc2012,
                **test_settings),
        ],
        **both_years))
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        ann_file='VOC2007/ImageSets/Main/test.txt',
        **voc2007,
        **test_settings))

val_evaluator = dict(
    type='VOCMetric', metric='mAP', iou_thrs=0.5, eval_mode='11points')
test_evaluator = val_evaluator
