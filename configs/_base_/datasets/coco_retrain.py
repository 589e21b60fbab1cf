# COCO for found backbones and baselines: training on all training images
# including the search split, test on val2017 (minival).
_base_ = './coco_detection.py'

train_dataloader = dict(dataset=_base_.coco_trainval)
val_dataloader = _base_.test_dataloader
val_evaluator = _base_.test_evaluator
