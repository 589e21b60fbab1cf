# ImageNet pre-training of DetNASNet (3.8G), a path that the
# authors published.
_base_ = './detnas-small_8xb128_in1k.py'

model = dict(backbone=dict(path='detnasnet_3.8g'), neck=dict(in_channels=1728))
