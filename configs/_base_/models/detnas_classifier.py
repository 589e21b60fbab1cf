# Classifier around a backbone of the small search space, as in the authors'
# ImageNet code: 1x1 convolution to 1024 channels, BN, ReLU, dropout, pooling.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='detnas_mm.DetNASSupernet',
        search_space='small',
        out_indices=(3, ),
    ),
    neck=dict(type='detnas_mm.DetNASClsNeck', in_channels=640),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=1024,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1),
    ),
)
