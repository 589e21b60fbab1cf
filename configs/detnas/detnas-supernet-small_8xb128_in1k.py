# Stage 1 of the paper: pre-training of the small supernet on ImageNet.
_base_ = [
    '../_base_/models/detnas_classifier.py',
    '../_base_/datasets/imagenet_bs128.py',
    '../_base_/schedules/imagenet_300k.py',
    '../_base_/supernet.py',
]
