# Detector, data and schedule of both detection steps in `elastic_tiny`.
_base_ = [
    './models/retinanet_detnas-elastic-tiny_fpn_digits.py',
    './datasets/digits_detection.py',
    './schedules/digits_detection.py',
]

# The number of updates counts: small batches.
train_dataloader = dict(batch_size=8)
optim_wrapper = dict(
    optimizer=dict(
        _delete_=True, type='AdamW', lr=4e-3, weight_decay=0.05, fused=True))
