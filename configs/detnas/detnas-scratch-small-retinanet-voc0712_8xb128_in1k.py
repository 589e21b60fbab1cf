# ImageNet pre-training of the backbone that DetNAS-scratch found with
# RetinaNet on VOC.
_base_ = './detnas-small_8xb128_in1k.py'

search = 'work_dirs/retinanet_detnas-scratch-search-small_fpn_2x_voc0712'
model = dict(backbone=dict(path=search + '/best.json'))
