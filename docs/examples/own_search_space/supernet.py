# A supernet with a custom search space, trained in a detector.
_base_ = '../../../configs/digits/retinanet_detnas-supernet-tiny_fpn_digits.py'

# The module that registers the blocks.
custom_imports = dict(
    imports=['inverted_residual'], allow_failed_imports=False)
stage_channels = [24, 48, 96, 192]
model = dict(
    backbone=dict(
        search_space=dict(
            _delete_=True,  # replaces 'tiny' of the base config
            stem_channels=16,
            stage_channels=stage_channels,
            stage_blocks=[1, 2, 3, 2],
            choices=['shuffle_3x3', 'xception', 'inverted_3x3',
                     'inverted_5x5']),
        init_cfg=None),  # from scratch, without stage 1
    neck=dict(in_channels=stage_channels))
