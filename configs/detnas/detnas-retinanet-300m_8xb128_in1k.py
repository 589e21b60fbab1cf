# ImageNet pre-training of DetNAS-COCO-RetinaNet-300M, a path that the
# authors published.
_base_ = './detnas-small_8xb128_in1k.py'

model = dict(backbone=dict(path='detnas_retinanet_300m'))
