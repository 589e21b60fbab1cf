# ImageNet pre-training of DetNASNet (1.3G), a path that the
# authors published.
_base_ = './detnas-small_8xb128_in1k.py'

model = dict(backbone=dict(path='detnasnet_1.3g'), neck=dict(in_channels=960))
