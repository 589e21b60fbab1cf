# COCO with a search split: 5k images held out of the training images, on
# which candidates are compared. Validation uses the search split; val2017
# (minival) is for the final test only. DETNAS_COCO=2014 in the environment
# selects the files of 2014 instead of 2017.
_base_ = [
    'mmdet::_base_/datasets/coco_detection.py',
    './coco_files_{{$DETNAS_COCO:2017}}.py',
]

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
    dataset=dict(pipeline=train_pipeline, **_base_.coco_train))
val_dataloader = dict(dataset=_base_.coco_search)
val_evaluator = dict(ann_file=data_root + _base_.coco_search.ann_file)
test_dataloader = dict(dataset=_base_.coco_test)
test_evaluator = dict(ann_file=data_root + _base_.coco_test.ann_file)
