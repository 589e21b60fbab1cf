# VOC for found backbones and baselines: training on all of trainval2007 and
# trainval2012 including the search split, test on test2007.
_base_ = './voc_detection.py'

train_dataloader = dict(
    dataset=dict(
        datasets=[
            dict(
                ann_file='VOC2007/ImageSets/Main/trainval.txt',
                **_base_.voc2007,
                **_base_.train_settings),
            dict(
                ann_file='VOC2012/ImageSets/Main/trainval.txt',
                **_base_.voc2012,
                **_base_.train_settings),
        ]))
val_dataloader = dict(_delete_=True, **_base_.test_dataloader)
val_evaluator = _base_.test_evaluator
