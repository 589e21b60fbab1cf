# Stage 1 on the embedded digits: crops of 48 x 48 pixels, one digit each.
# Build them with `python tools/dataset_converters/digits.py`. The training
# crops show digits of the `train` split only, the validation crops digits of
# the `search` split.
dataset_type = 'CustomDataset'
data_root = 'data/digits/classification/'

# The detector that inherits the weights needs the same mean and std.
data_preprocessor = dict(
    num_classes=10,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True)

# No flip: a mirrored digit is another sign.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='PackInputs'),
]

test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='PackInputs'),
]

# Reading is cheap: one worker keeps two cores busy with training.
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    collate_fn=dict(type='default_collate'),
    persistent_workers=True,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix='train',
        pipeline=train_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True))

val_dataloader = dict(
    batch_size=200,
    num_workers=1,
    collate_fn=dict(type='default_collate'),
    persistent_workers=True,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix='val',
        pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False))
val_evaluator = dict(type='Accuracy', topk=(1, ))

test_dataloader = val_dataloader
test_evaluator = val_evaluator
