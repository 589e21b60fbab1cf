# RetinaNet with a searched backbone, by default of the small space.
# The configs add its path and its weights from ImageNet.
_base_ = './retinanet_detnas_fpn.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='detnas_mm.DetNASNet',
        norm_cfg=_base_.norm_cfg,
        init_cfg=dict(type='Pretrained', prefix='backbone.')))
