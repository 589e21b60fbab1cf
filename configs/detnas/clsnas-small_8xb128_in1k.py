# ImageNet training of ClsNASNet on all training images.
_base_ = './detnas-small_8xb128_in1k.py'

search = 'work_dirs/clsnas-search-small_8xb128_in1k'
model = dict(backbone=dict(path=search + '/best.json'))
