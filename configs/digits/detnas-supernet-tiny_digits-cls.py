# Stage 1 on the embedded digits: pre-train the supernet as a classifier.
_base_ = [
    '../_base_/models/detnas_classifier_digits.py',
    '../_base_/datasets/digits_classification.py',
    '../_base_/schedules/digits_classification.py',
    '../_base_/supernet.py',
]

model = dict(
    backbone=dict(
        # A few hundred iterations are too few for independent weights.
        init_cfg=dict(type='detnas_mm.AlignedInit')))
