# ImageNet pre-training of the found backbone: 300k iterations of 1024 images
# on 8 GPUs. One GPU uses an eighth of these images.
_base_ = '../../../configs/detnas/detnas-small_8xb128_in1k.py'

# ==== Edit here if yours is elsewhere ========================================
search = 'work_dirs/retinanet_detnas-search-small_fpn_mine'
# ==== Nothing to edit below ==================================================

model = dict(backbone=dict(path=search + '/best.json'))
