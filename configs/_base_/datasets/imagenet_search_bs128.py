# ImageNet with a search split: 50k training images, 50 of each class, on
# which candidates are compared. Make its lists with
# `python tools/dataset_converters/imagenet_search_split.py data/imagenet`.
# Validation uses the search split, the test uses ImageNet's validation set.
_base_ = './imagenet_bs128.py'

train_dataloader = dict(dataset=dict(ann_file='meta/detnas_train.txt'))
val_dataloader = dict(
    dataset=dict(split='train', ann_file='meta/detnas_search.txt'))
