# COCO 2017 with a search split: 5k images held out of train2017, on which
# candidates are compared. Make its annotation files with
# `python tools/dataset_converters/coco_search_split.py data/coco`.
# Validation is the search split; val2017 is for the final test only.
_base_ = 'mmdet::_base_/datasets/coco_detection.py'

data_root = 'data/coco/'
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(
    batch_size=2,  # on each of 8 GPUs
    num_workers=4,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        ann_file='annotations/detnas_train2017.json',
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        ann_file='annotations/detnas_search2017.json',
        data_prefix=dict(img='train2017/')))
val_evaluator = dict(ann_file=data_root + 'annotations/detnas_search2017.json')
test_dataloader = dict(
    dataset=dict(
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/')))
test_evaluator = dict(ann_file=data_root + 'annotations/instances_val2017.json')
