# COCO for what a search found, and for baselines: trained on all training
# images, the search split included, and tested on val2017 (minival).
_base_ = './coco_detection.py'

train_dataloader = dict(dataset=_base_.coco_trainval)
val_dataloader = _base_.test_dataloader
val_evaluator = _base_.test_evaluator
