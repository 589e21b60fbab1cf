# Supernet of ClsNASNet: like the supernet of DetNAS, but 50k training images
# are held out, on which paths are compared.
_base_ = [
    '../_base_/models/detnas_classifier.py',
    '../_base_/datasets/imagenet_search_bs128.py',
    '../_base_/schedules/imagenet_300k.py',
    '../_base_/supernet.py',
]
